"""The demo: a real shop as a process, a stand-in for the sidecar in front of it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from proxy import demo
from proxy.admin import client
from proxy.config.loading import Loaded
from proxy.demo import Unusable, claimed_port, run
from tests.support.configs import config

ROOT = Path(__file__).parent.parent
ELSEWHERE = {"SIDECACHE_PORT": "18080", "SIDECACHE_OPS_PORT": "19901", "SIDECACHE_ADMIN_PORT": "19902"}


class StandIn:
    """In the place of `app.serve`: asks the origin once, remembers, and ends."""

    def __init__(self) -> None:
        self.calls: list[tuple[Loaded, Path | None]] = []
        self.answers: list[client.Reply | client.Unreachable] = []

    def __call__(self, loaded: Loaded, *, source: Path | None) -> int:
        self.calls.append((loaded, source))
        self.answers.append(client.ask("GET", f"{loaded.config.origin.url}/products/7"))
        return 0


@contextmanager
def taken_port() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


def test_the_shop_answers_while_the_sidecar_runs_and_is_gone_after():
    serve, told = StandIn(), []

    ended = run(origin=None, serve=serve, tell=told.append, environ={**ELSEWHERE})

    ((loaded, source),) = serve.calls
    (answer,) = serve.answers
    assert ended == 0
    assert source == demo.EXAMPLE
    assert isinstance(answer, client.Reply)
    assert (answer.status, answer.content["id"]) == (200, 7)
    assert isinstance(client.ask("GET", loaded.config.origin.url), client.Unreachable)
    assert told[0].startswith(f"sidecache in front of {loaded.config.origin.url}")


def test_what_moves_the_example_stays_in_the_environment_for_reloads():
    environ = {**ELSEWHERE}
    serve = StandIn()

    run(origin=None, serve=serve, tell=lambda _: None, environ=environ)

    ((loaded, _),) = serve.calls
    assert environ["ORIGIN"] == loaded.config.origin.url
    assert str(loaded.config.listen) == "127.0.0.1:18080"


def test_another_origin_is_cached_by_its_own_directives_and_starts_no_shop(monkeypatch):
    monkeypatch.setattr(demo, "SHOP", Path("/nothing/here"))
    serve, told = StandIn(), []

    ended = run(origin="http://127.0.0.1:1", serve=serve, tell=told.append, environ={**ELSEWHERE})

    ((loaded, source),) = serve.calls
    assert (ended, source) == (0, None)
    assert loaded.config.origin.url == "http://127.0.0.1:1"
    assert loaded.config.routes == ()
    assert str(loaded.config.admin.listen) == "127.0.0.1:19902"


def test_a_faulty_origin_is_named_before_anything_starts():
    ended = run(origin="ftp://x", serve=StandIn(), tell=lambda _: None, environ={**ELSEWHERE})

    assert isinstance(ended, Unusable)
    assert str(ended).startswith("--origin: ")


def test_without_the_source_tree_an_origin_is_needed(monkeypatch):
    monkeypatch.setattr(demo, "SHOP", Path("/nothing/here"))

    ended = run(origin=None, serve=StandIn(), tell=lambda _: None, environ={**ELSEWHERE})

    assert isinstance(ended, Unusable)
    assert "--origin" in str(ended)


def test_a_shop_that_does_not_start_is_told(monkeypatch, tmp_path):
    broken = tmp_path / "shop.py"
    broken.write_text("raise SystemExit('no')", encoding="utf-8")
    monkeypatch.setattr(demo, "SHOP", broken)
    serve = StandIn()

    ended = run(origin=None, serve=serve, tell=lambda _: None, environ={**ELSEWHERE})

    assert ended == Unusable("the example shop did not start")
    assert serve.calls == []


def test_a_shop_that_does_not_end_by_itself_is_killed(monkeypatch, tmp_path):
    stubborn = tmp_path / "shop.py"
    stubborn.write_text(
        "import time\nprint('on http://127.0.0.1:1', flush=True)\ntime.sleep(60)", encoding="utf-8"
    )
    monkeypatch.setattr(demo, "SHOP", stubborn)
    monkeypatch.setattr(demo, "STOP_SECONDS", 0.1)

    with demo.shop() as url:
        pass

    assert url == "http://127.0.0.1:1"


def test_the_shop_ends_with_a_demo_that_was_killed():
    code = "from proxy.demo import shop\nwith shop() as url:\n    print(url, flush=True)\n    input()"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe
    ) as started:
        assert started.stdout is not None
        url = started.stdout.readline().decode().strip()
        started.kill()
        # The shop inherited standard error: it ends only with the last process that holds it.
        started.communicate(timeout=20)

    assert url.startswith("http://127.0.0.1:")
    assert isinstance(client.ask("GET", url), client.Unreachable)


def test_a_taken_port_gives_way_to_a_free_one():
    with taken_port() as taken, claimed_port(taken) as found:
        assert found not in {0, taken}


def test_a_free_port_is_taken_as_wanted_and_can_be_listened_on():
    with taken_port() as port:
        pass

    with claimed_port(port) as found, closing(socket.create_server(("127.0.0.1", found))):
        assert found == port


def test_demos_that_start_at_the_same_time_take_different_ports():
    with taken_port() as port:
        pass

    with claimed_port(port) as first, claimed_port(port) as second:
        assert first == port
        assert second not in {0, port}
    with claimed_port(port) as after:
        assert after == port


def test_defaults_move_when_their_ports_are_taken(monkeypatch):
    with taken_port() as taken:
        monkeypatch.setattr(demo, "PORTS", dict.fromkeys(demo.PORTS, taken))
        environ: dict[str, str] = {}
        run(origin="http://127.0.0.1:1", serve=StandIn(), tell=lambda _: None, environ=environ)

    assert str(taken) not in environ.values()
    assert set(environ) == set(demo.PORTS)


@pytest.mark.parametrize("is_shop", [True, False])
def test_the_guide_has_three_addresses_and_five_lines_to_try(is_shop):
    guide = demo.guide(config(), is_shop=is_shop)

    assert re.findall(r"^  (clients|ops|admin) +http://[0-9.:]+", guide, re.MULTILINE) == [
        "clients",
        "ops",
        "admin",
    ]
    assert len(re.findall(r"^  curl -", guide, re.MULTILINE)) == 5
    assert len(re.findall(r"^  # ", guide, re.MULTILINE)) == 5
    assert ("X-Origin-Count" in guide) == is_shop
