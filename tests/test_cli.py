"""The command: flags, output and exit codes; a real admin port behind purge, a stand-in for the server."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

import proxy
from proxy import __version__, cli
from proxy.admin.ops import ops_application
from proxy.admin.protocols import PurgeReport
from proxy.cli import main
from proxy.config.loading import Loaded
from proxy.observe.metrics import Metrics
from proxy.policy.invalidation import Selector, SelectorKind
from tests.support.operators import FakeLifecycle, FakeOperator
from tests.support.served import answering, served

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "config.example.yaml"
GOOD = "origin: {url: http://127.0.0.1:8000}\n"
FAULTY = "orign: {url: http://127.0.0.1:8000}\nlisten: nowhere\n"
COMMANDS = ("serve", "check", "schema", "purge", "invalidate", "warm", "health", "drain", "version", "demo")


def sidecache(*arguments: object, **environ: str) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environ)


@dataclass
class StandIn:
    """In the place of `proxy.app`: remembers what it should have served."""

    exit_code: int = 0
    calls: list[tuple[Loaded, Path | None]] = field(default_factory=list)

    def serve(self, loaded: Loaded, *, source: Path | None) -> int:
        self.calls.append((loaded, source))
        return self.exit_code


@pytest.fixture
def app(monkeypatch) -> StandIn:
    stand_in = StandIn()
    module = SimpleNamespace(serve=stand_in.serve)
    monkeypatch.setitem(sys.modules, "proxy.app", module)
    monkeypatch.setattr(proxy, "app", module, raising=False)
    for name in cli.NOT_NEEDED:  # tests may want it again
        monkeypatch.setitem(sys.modules, name, sys.modules.get(name))
    return stand_in


@pytest.fixture
def good(tmp_path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


@pytest.fixture
def faulty(tmp_path) -> Path:
    path = tmp_path / "faulty.yaml"
    path.write_text(FAULTY, encoding="utf-8")
    return path


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_every_command_has_help(command):
    result = sidecache(*command, "--help")

    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


def test_the_help_lists_every_command_with_its_whole_sentence():
    output = sidecache("--help").output

    assert all(f"\n  {name} " in output for name in COMMANDS)
    assert "..." not in output.partition("Commands:")[2]


@pytest.mark.parametrize("arguments", [("version",), ("--version",)])
def test_the_version_is_the_packages(arguments):
    result = sidecache(*arguments)

    assert (result.exit_code, result.stdout) == (0, f"sidecache {__version__}\n")


@pytest.mark.parametrize("arguments", [("nothing",), ("--nothing",), ("check",), ("purge", "--urls", "/a")])
def test_a_command_that_cannot_be_understood_exits_2_on_stderr(arguments):
    result = sidecache(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr


def test_python_dash_m_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "version"], cwd=ROOT, capture_output=True, timeout=30, check=True
    )

    assert done.stdout == f"sidecache {__version__}\n".encode()


def test_what_serves_is_loaded_without_what_is_not_needed_for_it():
    code = (
        "import sys; from proxy import cli; cli._server()\n"
        "names = 'brotlicffi', 'greenlet', 'rich', 'structlog'\n"
        "print([name for name in names if sys.modules.get(name)])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=30, check=True)

    assert done.stdout == b"['structlog']\n"


@pytest.mark.parametrize("command", ["purge --url /a", "warm http://shop/a", "health", "version"])
def test_what_asks_a_running_sidecar_loads_no_server(command):
    """Their start-up time is most of their time."""
    code = (
        "import sys; from proxy.cli import main\n"
        f"try: main({[*command.split()]!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'aiohttp', 'pydantic', 'redis', 'rich', 'structlog', 'uvloop'} & sys.modules.keys()))"
    )
    environ = {"SIDECACHE_ADMIN": "http://127.0.0.1:1", "SIDECACHE_OPS": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=30, check=True, env=environ
    )

    assert done.stdout.splitlines()[-1] == b"[]"


def test_check_accepts_the_example():
    result = sidecache("check", EXAMPLE)

    assert (result.exit_code, result.stdout) == (0, f"{EXAMPLE}: no faults, 0 warnings\n")


def test_check_lists_every_fault_on_stderr_and_exits_1(faulty):
    result = sidecache("check", faulty)

    lines = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (1, "")
    assert any(line.startswith(f"{faulty}:1:1: ") and "did you mean origin" in line for line in lines)
    assert any(line.startswith(f"{faulty}:2:9: ") for line in lines)
    assert lines[-1] == f"{len(lines) - 1} faults"


def test_check_warns_and_exits_0(tmp_path):
    path = tmp_path / "dangerous.yaml"
    path.write_text(GOOD + "defaults: {identity: shared}\n", encoding="utf-8")

    result = sidecache("check", path)

    assert result.exit_code == 0
    assert result.stderr.startswith(f"warning: {path}:2:")
    assert result.stdout == f"{path}: no faults, 1 warning\n"


@pytest.mark.parametrize("name", ["missing.yaml", "."])
@pytest.mark.parametrize("command", [("check",), ("serve", "-c")])
def test_a_file_that_cannot_be_read_is_a_usage_error(command, name, tmp_path, app):
    result = sidecache(*command, tmp_path / name)

    assert result.exit_code == 2
    assert app.calls == []


def test_schema_prints_json_schema():
    result = sidecache("schema")

    assert result.exit_code == 0
    assert "routes" in json.loads(result.stdout)["properties"]


def test_serve_runs_the_file(good, app):
    app.exit_code = 7

    result = sidecache("serve", "-c", good)

    ((loaded, source),) = app.calls
    assert result.exit_code == 7
    assert (loaded.config.origin.url, source) == ("http://127.0.0.1:8000", good)


def test_serve_with_a_faulty_file_exits_2_with_every_fault(faulty, app):
    result = sidecache("serve", "-c", faulty)

    assert result.exit_code == 2
    assert f"{faulty}:1:1: " in result.stderr
    assert f"{faulty}:2:9: " in result.stderr
    assert app.calls == []


def test_serve_with_an_origin_needs_no_file(app):
    result = sidecache("serve", "--origin", "http://127.0.0.1:3000")

    ((loaded, source),) = app.calls
    config = loaded.config
    assert (result.exit_code, source) == (0, None)
    assert config.origin.url == "http://127.0.0.1:3000"
    assert [str(config.listen), str(config.ops.listen), str(config.admin.listen)] == [
        "0.0.0.0:8080",
        "0.0.0.0:9901",
        "127.0.0.1:9902",
    ]
    assert (config.profile, config.l2.url) == ("safe", "off")


def test_serve_with_an_origin_takes_the_other_flags(app):
    result = sidecache(
        *("serve", "--origin", "unix:/run/api.sock", "--listen", "127.0.0.1:3000"),
        *("--ops", "off", "--admin", "0.0.0.0:9000", "--profile", "rfc9111"),
        SIDECACHE_ADMIN_TOKEN="a-token-of-some-length",
    )

    ((loaded, _),) = app.calls
    config = loaded.config
    assert result.exit_code == 0
    assert (str(config.listen), config.ops.listen) == ("127.0.0.1:3000", None)
    assert (str(config.admin.listen), config.admin.token) == ("0.0.0.0:9000", "a-token-of-some-length")
    assert config.profile == "rfc9111"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "--config"),
        (("--origin", "ftp://x"), "--origin: "),
        (("--origin", "http://x", "--listen", "nowhere"), "--listen: "),
        (("--origin", "http://x", "--admin", "0.0.0.0:9902"), "--admin: "),
        (("--origin", "http://x", "--profile", "fast"), "--profile"),
    ],
)
def test_serve_with_wrong_flags_exits_2_and_names_the_flag(arguments, named, app):
    result = sidecache("serve", *arguments, SIDECACHE_ADMIN_TOKEN="", SIDECACHE_ADMIN_TOKEN_FILE="")

    assert result.exit_code == 2
    assert named in result.stderr
    assert app.calls == []


@pytest.mark.parametrize("flag", ["--origin", "--listen", "--ops", "--admin"])
def test_flags_of_an_origin_do_not_go_with_a_file(flag, good, app):
    result = sidecache("serve", "-c", good, flag, "http://127.0.0.1:1")

    assert result.exit_code == 2
    assert "--origin" in result.stderr
    assert app.calls == []


@pytest.mark.parametrize(("command", "soft"), [("purge", False), ("invalidate", True)])
def test_every_selector_reaches_the_admin_port(command, soft):
    operator = FakeOperator()

    with served(operator.application()) as url:
        result = sidecache(
            *(command, "--url", "/a", "--url", "/b?c", "--prefix", "/p", "--pattern", "/x/*", "--tag", "t"),
            *("--route", "product", "--everything", "--wait", "250ms", "--admin", url),
        )

    ((selectors, was_soft, wait_seconds),) = operator.invalidation.calls
    assert (result.exit_code, result.stdout) == (0, "applied by 4 of 4 replicas\n")
    assert (was_soft, wait_seconds) == (soft, 0.25)
    assert set(selectors) == {
        Selector(SelectorKind.URL, "/a"),
        Selector(SelectorKind.URL, "/b?c"),
        Selector(SelectorKind.PREFIX, "/p"),
        Selector(SelectorKind.PATTERN, "/x/*"),
        Selector(SelectorKind.TAG, "t"),
        Selector(SelectorKind.ROUTE, "product"),
        Selector(SelectorKind.EVERYTHING),
    }


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (PurgeReport("7-1", published=True, known=2, acknowledged=1, missing=("b",)), "missing: b"),
        (PurgeReport("u", published=False, known=1, acknowledged=1), "by no other"),
    ],
)
def test_a_purge_that_did_not_reach_everybody_exits_1(report, words):
    operator = FakeOperator()
    operator.invalidation.report = report

    with served(operator.application()) as url:
        result = sidecache("purge", "--url", "/a", SIDECACHE_ADMIN=url)

    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr
    assert "What to do: " in result.stderr


def test_a_dry_run_counts():
    operator = FakeOperator()

    with served(operator.application()) as url:
        result = sidecache("purge", "--url", "/a", "--dry-run", "--admin", url)

    assert (result.exit_code, result.stdout) == (0, "would match 3 entries of this replica's L1\n")
    assert operator.invalidation.calls == []


def test_the_token_comes_from_the_environment_or_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("s3cret\n", encoding="utf-8")

    with served(FakeOperator().application("s3cret")) as url:
        without = sidecache("purge", "--url", "/a", "--admin", url)
        given = sidecache("purge", "--url", "/a", "--admin", url, SIDECACHE_ADMIN_TOKEN="s3cret")
        named = sidecache("purge", "--url", "/a", "--admin", url, SIDECACHE_ADMIN_TOKEN_FILE=str(file))

    assert [result.exit_code for result in (without, given, named)] == [1, 0, 0]
    assert "Authorization: Bearer" in without.stderr


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ((), {}),
        (("--dry-run",), {}),
        (("--url", "/a", "--wait", "soon"), {}),
        (("--url", "/a"), {"SIDECACHE_ADMIN_TOKEN_FILE": "/nothing/here"}),
    ],
)
def test_a_purge_of_nothing_or_with_bad_flags_exits_2(arguments, environ):
    result = sidecache("purge", *arguments, **environ)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    "arguments", [("purge", "--url", "/a"), ("warm", "http://shop/a"), ("health",), ("drain",)]
)
def test_a_sidecar_that_does_not_answer_is_exit_1_without_a_traceback(arguments):
    gone = "http://127.0.0.1:1"

    result = sidecache(*arguments, SIDECACHE_ADMIN=gone, SIDECACHE_OPS=gone)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "does not answer: Connection refused" in result.stderr
    assert "Traceback" not in result.stderr


def test_health_and_drain_ask_the_ops_port():
    lifecycle = FakeLifecycle()

    with served(ops_application(lifecycle, Metrics().exposition)) as url:
        before = sidecache("health", "--ops", url)
        drained = sidecache("drain", SIDECACHE_OPS=url)
        after = sidecache("health", "--ops", url)

    assert (before.exit_code, before.stdout) == (0, "ready\n")
    assert (drained.exit_code, drained.stdout) == (0, "draining\n")
    assert (after.exit_code, after.stderr) == (1, "draining\n")


def test_warm_tells_each_url_and_the_totals(tmp_path):
    operator = FakeOperator()
    operator.prefetching.results = {b"/b": ("not-stored", "route")}
    file = tmp_path / "urls.txt"
    file.write_text("/b\n\n  /c  \n", encoding="utf-8")

    with served(operator.application()) as url:
        result = sidecache(
            *("warm", "/a", "--file", file, "--header", "Host: shop", "--header", "X:1"),
            *("--concurrency", "8", "--timeout", "30s", "--admin", url),
        )

    *lines, last = result.stdout.splitlines()
    assert lines == ["stored     /a", "not-stored /b (route)", "stored     /c"]
    assert last.startswith("3 fetches in ")
    assert last.endswith(": 2 stored, 1 not-stored")
    assert result.exit_code == 0
    ((requests, _, at_once, seconds),) = operator.prefetching.calls
    assert (at_once, seconds) == (8, 30.0)
    assert {request.fields.lines for request in requests} == {((b"Host", b"shop"), (b"X", b"1"))}


@pytest.mark.parametrize("result", ["failed", "skipped"])
def test_warm_exits_1_when_a_fetch_failed_or_was_left(result):
    operator = FakeOperator()
    operator.prefetching.results = {b"/b": (result, None)}

    with served(operator.application()) as url:
        said = sidecache("warm", "http://shop/a", "http://shop/b", SIDECACHE_ADMIN=url)

    assert (said.exit_code, f"1 {result}" in said.stdout) == (1, True)


def test_warm_exits_1_when_it_is_refused_or_breaks_off():
    with served(FakeOperator().application()) as url:
        refused = sidecache("warm", "/a", "--admin", url)
    line = b'{"url": "/a", "result": "stored"}\n'
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(line), line)) as url:
        broken_off = sidecache("warm", "http://shop/a", "--admin", url)

    assert (refused.exit_code, refused.stdout, "urls[0]" in refused.stderr) == (1, "", True)
    assert (broken_off.exit_code, broken_off.stdout) == (1, "stored     /a\n")
    assert broken_off.stderr.startswith("The answer broke off")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("/a", "--header", "Host"),
        ("/a", "--header", "Cookie: a=1", "--header", "Cookie: b=2"),
        ("--file", "/nothing/here"),
    ],
)
def test_warm_of_nothing_or_with_bad_flags_exits_2(arguments):
    result = sidecache("warm", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


@pytest.mark.parametrize("command", ["purge", "invalidate"])
def test_refresh_is_told_with_the_selectors(command):
    operator = FakeOperator()

    with served(operator.application()) as url:
        result = sidecache(command, "--url", "/a", "--refresh", "--admin", url)
        nothing = sidecache(command, "--refresh", "--admin", url)

    assert (result.exit_code, nothing.exit_code) == (0, 2)
    assert result.stdout == "applied by 4 of 4 replicas; fetching 12 entries again\n"
