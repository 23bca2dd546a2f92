"""The configurations of all servers, judged by the servers themselves where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bench.origin import render_origin
from bench.servers import haproxy, nginx, nginx_lua, ours, varnish
from bench.servers.nginx_base import can_run_lua
from bench.servers.server import MIB, Setup
from tests.support.configs import loaded

SETUP = Setup(origin_port=8000, cores=(0,), redis_port=6379)


def accepts(*command: str | Path) -> bool:
    """Does the server take this configuration?"""
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


def test_ours_has_routes_before_the_measured_ones_and_all_ports() -> None:
    config = loaded(ours.render(clients=1, ops=2, admin=3, setup=SETUP))

    assert [route.name for route in config.routes][:4] == ["search", "profile", "cart", "passed"]
    assert str(config.ops.listen) == "127.0.0.1:2"
    assert config.l2.url == "redis://127.0.0.1:6379/0"
    assert config.l1.max_bytes == 1024 * MIB


def test_ours_asks_l2_first_only_where_a_scenario_wants_it() -> None:
    first = Setup(origin_port=8000, cores=(0,), redis_port=6379, is_l2_asked_first=True)
    both = [loaded(ours.render(clients=1, ops=2, admin=3, setup=setup)) for setup in (SETUP, first)]

    assert [config.routes[-1].l1_ttl for config in both] == [60.0, 0.0]


def test_nginx_takes_its_cache_configuration(tmp_path: Path) -> None:
    file = tmp_path / "nginx.conf"
    file.write_text(nginx.render(tmp_path, port=8080, setup=SETUP))

    assert "access_log off" in file.read_text()
    assert "keepalive 512" in file.read_text()
    assert accepts("nginx", "-t", "-c", file)


@pytest.mark.skipif(not can_run_lua(), reason="nginx has no Lua module here")
def test_nginx_takes_the_configuration_with_redis(tmp_path: Path) -> None:
    file = tmp_path / "nginx.conf"
    file.write_text(nginx_lua.render(tmp_path, port=8080, setup=SETUP))

    assert 'connect("127.0.0.1", 6379)' in file.read_text()
    assert accepts("nginx", "-t", "-c", file)


@pytest.mark.parametrize(
    "has_lua",
    [
        False,
        pytest.param(
            True, marks=pytest.mark.skipif(not can_run_lua(), reason="nginx has no Lua module here")
        ),
    ],
)
def test_nginx_takes_the_configuration_of_the_origin(tmp_path: Path, has_lua: bool) -> None:
    file = tmp_path / "nginx.conf"
    file.write_text(render_origin(tmp_path, port=8080, has_lua=has_lua))

    assert ("ngx.sleep(0.008)" in file.read_text()) == has_lua
    assert accepts("nginx", "-t", "-c", file)


def test_haproxy_takes_its_configuration(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text(haproxy.render(port=8080, setup=SETUP))

    assert "total-max-size 1024" in file.read_text()
    assert accepts("haproxy", "-c", "-f", file)


def test_varnish_passes_what_is_not_stored() -> None:
    text = varnish.render(SETUP)

    assert 'if (req.url ~ "^/passed/") { return (pass); }' in text
    assert '.port = "8000";' in text
