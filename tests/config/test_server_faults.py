from __future__ import annotations

import pytest

from proxy.config.server_faults import is_loopback
from tests.support.configs import faults_of

ORIGIN = "origin: {url: http://h:1}\n"

FAULTY = [
    (
        "origin: {url: http://h:1, max_in_flight: 4}\nworkers: 5",
        ["x.yaml:2:10: workers: found 5, expected at most origin.max_in_flight (4)"],
    ),
    (
        ORIGIN + "workers: 5\nlimits: {connections: 4}",
        ["x.yaml:2:10: workers: found 5, expected at most limits.connections (4)"],
    ),
    (
        ORIGIN + "workers: 5\nl1: {max_entries: 4}",
        ["x.yaml:2:10: workers: found 5, expected at most l1.max_entries (4)"],
    ),
    (
        ORIGIN + "workers: 2\nl1: {max_bytes: 1MiB, max_entry_bytes: 1MiB}",
        [
            (
                "x.yaml:3:40: l1.max_entry_bytes: found 1048576 bytes,"
                " expected at most l1.max_bytes divided by 2 workers (524288 bytes)"
            )
        ],
    ),
    (
        ORIGIN + "ops: {listen: 0.0.0.0:8080}",
        ["x.yaml:2:15: ops.listen: found 0.0.0.0:8080, expected another address than listen"],
    ),
    (
        ORIGIN + "admin: {listen: 127.0.0.1:8080}",
        ["x.yaml:2:17: admin.listen: found 127.0.0.1:8080, expected another address than listen"],
    ),
    (
        ORIGIN + "listen: 127.0.0.1:9901",
        ["x.yaml:2:9: ops.listen: found 0.0.0.0:9901, expected another address than listen"],
    ),
    (
        ORIGIN + "admin: {listen: 0.0.0.0:9902}",
        [
            (
                "x.yaml:2:17: admin.listen: found 0.0.0.0:9902 without a token,"
                " expected admin.token or an address on loopback"
            )
        ],
    ),
    (
        "origin: {url: http://h, max_in_flight: 65, pool: {max_connections: 64, min_idle: 65}}",
        [
            "x.yaml:1:40: origin.max_in_flight: found 65, expected at most origin.pool.max_connections (64)",
            "x.yaml:1:82: origin.pool.min_idle: found 65, expected at most origin.pool.max_connections (64)",
        ],
    ),
    (
        "origin: {url: unix:/run/api.sock, tls: {server_name: api}}",
        [
            (
                "x.yaml:1:54: origin.tls.server_name: found TLS settings for unix:,"
                " expected an https:// origin.url"
            )
        ],
    ),
    (
        "origin: {url: http://h, tls: {ca_file: /ca.pem}}",
        ["x.yaml:1:40: origin.tls.ca_file: found TLS settings for http:, expected an https:// origin.url"],
    ),
    (
        "origin: {url: https://h, tls: {cert_file: /c.pem}}",
        ["x.yaml:1:43: origin.tls.cert_file: found cert_file alone, expected key_file too"],
    ),
    (
        "origin: {url: https://h, tls: {key_file: /k.pem}}",
        ["x.yaml:1:42: origin.tls.key_file: found key_file alone, expected cert_file too"],
    ),
    (
        ORIGIN + "l1: {max_bytes: 512KiB}",
        [
            (
                "x.yaml:2:17: l1.max_entry_bytes: found 1048576 bytes,"
                " expected at most l1.max_bytes (524288 bytes)"
            )
        ],
    ),
]

RIGHT = [
    ORIGIN + "workers: 1",
    ORIGIN + "workers: 128",
    ORIGIN + "workers: 2\nl1: {max_bytes: 2MiB, max_entry_bytes: 1MiB}",
    ORIGIN + "l2: {url: redis://h}",
    ORIGIN + "listen: 127.0.0.1:0\nops: {listen: 127.0.0.1:0}\nadmin: {listen: 127.0.0.1:0}",
    ORIGIN + "listen: 127.0.0.1:80\nops: {listen: 127.0.0.2:80}\nadmin: {listen: '[::1]:80'}",
    ORIGIN + "ops: {listen: off}\nadmin: {listen: off}",
    ORIGIN + "admin: {listen: 0.0.0.0:9902, token: 0123456789abcdef}",
    ORIGIN + "admin: {listen: '[::1]:9902'}",
    "origin: {url: http://h, max_in_flight: 64, pool: {max_connections: 64, min_idle: 64}}",
    "origin: {url: http://h, pool: {max_connections: 2}}",
    "origin: {url: https://h, tls: {cert_file: /c.pem, key_file: /k.pem, server_name: api}}",
    ORIGIN + "l1: {max_bytes: 1MiB, max_entry_bytes: 1MiB}",
    ORIGIN + "l1: {max_bytes: 1%, max_entry_bytes: 1GiB}",
]


@pytest.mark.parametrize(("text", "faults"), FAULTY)
def test_settings_that_contradict_each_other_are_faults(text: str, faults: list[str]) -> None:
    assert faults_of(text) == faults


@pytest.mark.parametrize("text", RIGHT)
def test_settings_that_agree_are_not(text: str) -> None:
    assert faults_of(text) == []


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("h", False),
    ],
)
def test_loopback_is_recognised(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer
