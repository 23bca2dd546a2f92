from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.loading import Faults, Loaded, load, load_text
from tests.support.configs import faults_of, loaded, read

MINIMAL = "origin: {url: http://127.0.0.1:8000}\n"


def test_minimal_file_has_all_defaults() -> None:
    config = loaded(MINIMAL)

    assert str(config.listen) == "0.0.0.0:8080"
    assert config.l2.url == "off"
    assert config.unmatched == "cache"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ["x.yaml:1:1: origin: missing, but required"]),
        ("- a", ["x.yaml:1:1: found a list, expected a mapping"]),
        ("text", ['x.yaml:1:1: found "text", expected a mapping']),
        ("origin:\n", ["x.yaml:1:1: origin: missing, but required"]),
        ("origin: {}", ["x.yaml:1:1: origin.url: missing, but required"]),
        ("a: [1", ["x.yaml:1:6: not YAML: expected ',' or ']', but got '<stream end>'"]),
    ],
)
def test_text_that_is_no_configuration_is_refused(text: str, faults: list[str]) -> None:
    assert faults_of(text) == faults


def test_yaml_1_1_reads_nothing_into_words() -> None:
    config = loaded(
        MINIMAL
        + """\
ops: {listen: off}
l2: {url: off, namespace: no}
logs: {access: off}
forwarded: {via: no, for: append}
workers: 01
routes:
  - {name: 010, match: {path: /a, host: 1.2}, coalesce: off, tags: [yes, 1:30, ~x]}
"""
    )

    assert (config.ops.listen, config.l2.url, config.l2.namespace) == (None, "off", "no")
    assert (config.logs.access, config.forwarded.via, config.workers) == (0.0, False, 1)
    (route,) = config.routes
    assert (route.name, route.match.host, route.coalesce.scope) == ("010", "1.2", "off")
    assert route.tags == ("yes", "1:30", "~x")


def test_shape_and_meaning_are_checked_together() -> None:
    faults = faults_of(
        """\
        admin: {listen: h:1}
        orign: {url: http://h}
        l1: {max_bytes: 4 potatoes}
        connect_timeout: 3s
        defaults: {ttl: 5mins, override: [privat]}
        routes:
          - match: {path: /x}
            idle: ${NOPE}
          - {name: all, match: {path: /**}, jitter: 95%}
          - {name: last, match: {path: /p}, coalesce: {scope: flet}, ttl: 1m, ttl: 2m}
          - 7
        """
    )

    assert faults == [
        "x.yaml:1:1: origin: missing, but required",
        (
            "x.yaml:1:17: admin.listen: found h:1 without a token,"
            " expected admin.token or an address on loopback"
        ),
        "x.yaml:2:1: orign: unknown key; did you mean origin?",
        (
            'x.yaml:3:17: l1.max_bytes: found "4 potatoes",'
            " expected a size such as 64KiB or 256MiB, or a share such as 40%"
        ),
        "x.yaml:4:1: connect_timeout: unknown key; did you mean origin.connect_timeout?",
        (
            'x.yaml:5:17: defaults.ttl: found "5mins",'
            " expected a duration such as 250ms, 10s, 5m, 1h or 1d; did you mean 5m?"
        ),
        (
            'x.yaml:5:35: defaults.override[#1]: found "privat",'
            " expected private, no-store or set-cookie; did you mean private?"
        ),
        "x.yaml:7:5: routes[#1].name: missing, but required",
        (
            "x.yaml:8:11: routes[#1].idle: found ${NOPE},"
            " expected the environment variable NOPE, which is not set"
        ),
        "x.yaml:9:45: routes[all].jitter: found 95%, expected at most 90%",
        "x.yaml:10:18: routes[last].match: unreachable: the earlier route all (/**) takes all its requests",
        (
            'x.yaml:10:55: routes[last].coalesce.scope: found "flet",'
            " expected auto, fleet, process or off; did you mean fleet?"
        ),
        'x.yaml:10:71: found "ttl" a second time, expected it once (first in line 10)',
        'x.yaml:11:5: routes[#4]: found "7", expected a mapping',
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("l2: {url: 'foo://user:pw@h'}", "x.yaml:2:11: l2.url: found a value that is not shown, expected"),
        ("admin: {token: [a]}", "x.yaml:2:9: admin.token: found a value that is not shown, expected text"),
    ],
)
def test_secret_is_not_shown_in_a_fault(text: str, fault: str) -> None:
    (found,) = faults_of(MINIMAL + text)

    assert found.startswith(fault)
    assert "pw" not in found


def test_file_is_read_with_its_secrets(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef\n")
    file = tmp_path / "c.yaml"
    file.write_text(MINIMAL + "admin: {listen: '0.0.0.0:1', token_file: token}\n")

    result = load(file, environ={})

    assert isinstance(result, Loaded)
    assert result.config.admin.token == "0123456789abcdef"
    assert set(result.sources) == {file, tmp_path / "token"}
    assert "0123456789abcdef" not in repr(result)


def test_secret_file_that_is_missing_is_still_watched(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(MINIMAL + "admin: {listen: '0.0.0.0:1', token_file: token}\n")

    result = load(file, environ={})

    assert isinstance(result, Faults)
    assert str(result) == (
        f'{file}:2:42: admin.token_file: found "token", expected a readable file: No such file or directory'
    )
    assert set(result.sources) == {file, tmp_path / "token"}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "1:1: cannot be read: No such file or directory"),
        (b"a: 1\nb: \xff\n", "2:4: found bytes that are not UTF-8"),
        ("a: \u00e9\u00e9".encode() + b"\xff", "1:6: found bytes that are not UTF-8"),
    ],
)
def test_file_that_cannot_be_read_is_a_fault(tmp_path: Path, content: bytes | None, fault: str) -> None:
    file = tmp_path / "c.yaml"
    if content is not None:
        file.write_bytes(content)

    result = load(file, environ={})

    assert isinstance(result, Faults)
    assert str(result) == f"{file}:{fault}"
    assert set(result.sources) == {file}


def test_environment_is_what_the_caller_says() -> None:
    text = "origin: {url: '${ORIGIN:-http://h:1}'}\nadmin: {token: '${TOKEN:-}'}\n"

    assert loaded(text).origin.url == "http://h:1"
    assert loaded(text).admin.token is None
    assert loaded(text, environ={"ORIGIN": "http://o"}).origin.url == "http://o"


def test_digest_names_the_policy_not_the_text() -> None:
    def digest(text: str, **environ: str) -> str:
        result = read(text, environ=environ)
        assert isinstance(result, Loaded)
        return result.digest

    assert digest(MINIMAL) == digest("# other words\n" + MINIMAL)
    assert digest(MINIMAL) != digest(MINIMAL + "defaults: {ttl: 1m}")
    assert digest(MINIMAL) != digest(MINIMAL + "defaults: {ttl: '${T}'}", T="1m")
    assert digest(MINIMAL + "secret: a") == digest(MINIMAL + "secret: b")


snippets = st.sampled_from(
    [
        "origin: {url: http://h}",
        "routes:",
        "- {name: a, match: {path: /a}}",
        "  - name: a",
        "defaults: {ttl: 5m}",
        "l1:",
        "  max_bytes: ${X}",
        "admin: {token_file: /nonexistent/x, token: 1}",
        "negative: {404: x}",
        "? [a]",
        "x: &a [*a]",
        "---",
        "listen: ~",
    ]
)


@given(st.text(max_size=80) | st.lists(snippets, max_size=6).map("\n".join))
def test_any_text_is_a_configuration_or_faults(text: str) -> None:
    result = load_text(text, name="x.yaml", environ={"X": "1"})

    assert isinstance(result, Loaded) or result.faults


values = st.recursive(
    st.none() | st.text("aoff:/5%m{}", max_size=5) | st.sampled_from(["5m", "off", "none", "true", "shared"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["url", "listen", "ttl", "name", "match", "path", "404", "errors", "key", "query"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
sections = st.sampled_from(
    ["origin", "routes", "defaults", "l1", "l2", "ops", "admin", "negative", "logs", "data_purge", "secret"]
)


@given(st.dictionaries(sections, values, max_size=5))
def test_values_of_any_shape_are_checked(given_values: dict[str, object]) -> None:
    import json

    result = load_text(json.dumps(given_values), name="x.json", environ={})

    assert isinstance(result, Loaded) or result.faults
