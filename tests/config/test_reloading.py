from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from proxy.config.loading import Loaded, load
from proxy.config.reloading import FixedConfiguration, Rejected, Reloaded, Reloader, Unchanged
from proxy.config.schema import Config
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn

DEADLINE_SECONDS = 10.0
ORIGIN = "origin: {url: http://127.0.0.1:8000}\n"


def with_ttl(seconds: int) -> str:
    return ORIGIN + f"defaults: {{ttl: {seconds}s}}\n"


class Harness:
    """A reloader on a file, the metrics it counts in and the configurations it applied."""

    def __init__(self, file: Path, *, poll_seconds: float = 3600.0) -> None:
        self.file = file
        self.now = 1000.0
        self.metrics = Metrics()
        self.applied: list[Config] = []
        self.was_applied = asyncio.Event()
        loaded = load(file, environ={})
        assert isinstance(loaded, Loaded)
        self.reloader = Reloader(
            file,
            loaded,
            environ={},
            apply=self._apply,
            counter=self.metrics.config_reloads,
            clock=lambda: self.now,
            poll_seconds=poll_seconds,
        )
        self.metrics.gauges.update(self.reloader.gauges())

    def _apply(self, config: Config) -> None:
        self.applied.append(config)
        self.was_applied.set()

    def gauge(self, name: str) -> dict[tuple[str, ...], float]:
        return dict(self.metrics.gauges[name]())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(with_ttl(1))
    return file


def put(file: Path, content: str) -> None:
    file.write_text(content)


def remove(file: Path) -> None:
    file.unlink()


def touch(file: Path) -> None:
    os.utime(file, (1, 1))


def link(file: Path, target: str) -> None:
    file.symlink_to(target)


@contextmanager
def nothing_logged() -> Iterator[None]:
    with capture_logs() as logs:
        yield
    assert logs == []


async def test_new_content_is_applied_once(file: Path) -> None:
    harness = Harness(file)
    put(file, with_ttl(2))

    assert await harness.reloader.poll() == Reloaded(("defaults.ttl",), ())
    assert await harness.reloader.poll() is None
    assert [config.defaults.ttl for config in harness.applied] == [2.0]
    assert harness.reloader.config is harness.applied[0]


async def test_untouched_file_is_not_read_again(file: Path) -> None:
    harness = Harness(file)
    touch(file)

    with nothing_logged():
        assert await harness.reloader.poll() is None
    assert harness.metrics.config_reloads.values == {}


async def test_other_words_for_the_same_policy_change_nothing(file: Path) -> None:
    harness = Harness(file)
    put(file, "# a comment\n" + with_ttl(1))

    assert await harness.reloader.poll() == Unchanged()
    assert harness.applied == []


async def test_faulty_file_changes_nothing_and_is_told_once(file: Path) -> None:
    harness = Harness(file)
    before = harness.reloader.config
    put(file, ORIGIN + "defaults: {ttl: soon}\n")

    with capture_logs() as logs:
        result = await harness.reloader.poll()
        again = await harness.reloader.poll()

    assert isinstance(result, Rejected)
    assert [str(fault) for fault in result.faults] == [
        f'{file}:2:17: defaults.ttl: found "soon", expected a duration such as 250ms, 10s, 5m, 1h or 1d'
    ]
    assert again is None
    assert [(entry["log_level"], entry["faults"]) for entry in logs] == [
        ("error", [str(fault) for fault in result.faults])
    ]
    assert harness.applied == []
    assert harness.reloader.config is before
    assert harness.gauge("config_last_reload_success") == {(): 0.0}
    assert harness.metrics.config_reloads.values == {("rejected",): 1}


async def test_next_change_after_a_fault_is_tried(file: Path) -> None:
    harness = Harness(file)
    put(file, "a: [")
    await harness.reloader.poll()
    put(file, with_ttl(3))

    assert await harness.reloader.poll() == Reloaded(("defaults.ttl",), ())
    assert harness.gauge("config_last_reload_success") == {(): 1.0}


async def test_file_that_is_put_back_after_a_fault_is_accepted(file: Path) -> None:
    harness = Harness(file)
    put(file, "a: [")
    await harness.reloader.poll()
    put(file, with_ttl(1))

    assert await harness.reloader.poll() == Unchanged()
    assert harness.gauge("config_last_reload_success") == {(): 1.0}


async def test_operator_hears_of_a_faulty_file_each_time(file: Path) -> None:
    harness = Harness(file)
    put(file, "a: [")
    await harness.reloader.poll()

    assert isinstance(await harness.reloader.reload(), Rejected)
    assert isinstance(await harness.reloader.reload(), Rejected)


async def test_file_that_vanishes_is_a_fault_until_it_is_back(file: Path) -> None:
    harness = Harness(file)
    remove(file)

    result = await harness.reloader.poll()
    assert isinstance(result, Rejected)
    assert str(result.faults[0]) == f"{file}:1:1: cannot be read: No such file or directory"
    assert await harness.reloader.poll() is None
    put(file, with_ttl(1))
    assert await harness.reloader.poll() == Unchanged()


async def test_what_needs_a_restart_keeps_its_value_and_is_told(file: Path) -> None:
    harness = Harness(file)
    put(file, "listen: 0.0.0.0:1\nl1: {max_entries: 7}\n" + with_ttl(2))

    with capture_logs() as logs:
        result = await harness.reloader.poll()

    assert result == Reloaded(("listen", "l1.max_entries", "defaults.ttl"), ("listen", "l1.max_entries"))
    assert logs[0]["needs_restart"] == ("listen", "l1.max_entries")
    (applied,) = harness.applied
    assert (str(applied.listen), applied.l1.max_entries, applied.defaults.ttl) == (
        "0.0.0.0:8080",
        100000,
        2.0,
    )


async def test_warnings_of_the_new_file_are_logged(file: Path) -> None:
    harness = Harness(file)
    put(file, ORIGIN + "defaults: {identity: shared}\n")

    with capture_logs() as logs:
        await harness.reloader.poll()

    assert [entry["warning"] for entry in logs if entry["log_level"] == "warning"] == [
        (
            f"{file}:2:22: defaults.identity: shared:"
            " answers to requests with Authorization or cookies are given to everybody"
        )
    ]


def publish(volume: Path, version: str, content: str) -> None:
    """As the kubelet updates a ConfigMap: a new folder, and one symlink swapped."""
    folder = volume / version
    folder.mkdir()
    (folder / "config.yaml").write_text(content)
    os.utime(folder / "config.yaml", (1, 1))
    fresh = volume / "..data_tmp"
    fresh.symlink_to(version)
    fresh.rename(volume / "..data")


async def test_swapped_symlink_of_a_configmap_is_noticed(tmp_path: Path) -> None:
    publish(tmp_path, "..1", with_ttl(1))
    link(tmp_path / "config.yaml", "..data/config.yaml")
    harness = Harness(tmp_path / "config.yaml")

    publish(tmp_path, "..2", with_ttl(2))

    assert await harness.reloader.poll() == Reloaded(("defaults.ttl",), ())


async def test_secret_file_is_watched_too(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    put(secret, "0123456789abcdef")
    put(file, ORIGIN + "secret_file: secret\n")
    harness = Harness(file)
    put(secret, "fedcba9876543210")

    assert await harness.reloader.poll() == Reloaded(("secret",), ("secret",))
    assert await harness.reloader.poll() is None


async def test_secret_file_that_is_missing_is_waited_for(file: Path, tmp_path: Path) -> None:
    harness = Harness(file)
    put(file, with_ttl(2) + "secret_file: secret\n")
    assert isinstance(await harness.reloader.poll(), Rejected)
    put(tmp_path / "secret", "0123456789abcdef")

    assert isinstance(await harness.reloader.poll(), Reloaded)


async def test_gauges_name_the_policy_in_force(file: Path) -> None:
    harness = Harness(file)
    first = harness.gauge("config_info")
    assert harness.gauge("config_loaded_at_seconds") == {(): 1000.0}
    harness.now = 2000.0
    put(file, with_ttl(2))
    await harness.reloader.poll()

    assert harness.gauge("config_loaded_at_seconds") == {(): 2000.0}
    assert len(harness.gauge("config_info")) == 1
    assert harness.gauge("config_info") != first
    assert b"sidecache_config_info{hash=" in harness.metrics.exposition()


async def test_reloads_at_the_same_time_are_one_after_the_other(file: Path) -> None:
    harness = Harness(file)
    put(file, with_ttl(2))

    results = await asyncio.gather(*(harness.reloader.reload() for _ in range(5)))

    assert results == [Reloaded(("defaults.ttl",), ()), *[Unchanged()] * 4]
    assert harness.metrics.config_reloads.values == {("reloaded",): 1, ("unchanged",): 4}


@pytest.mark.parametrize(("poll_seconds", "asks"), [(3600.0, True), (0.0, False)])
async def test_running_reloader_answers_a_signal_and_polls(
    file: Path, poll_seconds: float, asks: bool
) -> None:
    harness = Harness(file, poll_seconds=poll_seconds)
    running = spawn("reloader", harness.reloader.run())
    put(file, with_ttl(2))
    if asks:
        harness.reloader.ask()

    async with asyncio.timeout(DEADLINE_SECONDS):
        await harness.was_applied.wait()
    running.cancel()
    await asyncio.wait([running], timeout=DEADLINE_SECONDS)

    assert running.cancelled()
    assert harness.reloader.config.defaults.ttl == 2.0


async def test_configuration_that_cannot_be_applied_is_not_in_force(file: Path) -> None:
    harness = Harness(file)

    def refuse(_: Config) -> None:
        raise RuntimeError("broken")

    harness.reloader._apply = refuse
    before = harness.reloader.config
    put(file, with_ttl(2))
    with pytest.raises(RuntimeError):
        await harness.reloader.reload()

    assert harness.reloader.config is before


async def test_without_a_file_nothing_is_reloaded(file: Path) -> None:
    fixed = FixedConfiguration(Harness(file).reloader.config)

    result = await fixed.reload()

    assert isinstance(result, Rejected)
    assert [str(fault) for fault in result.faults] == ["--origin: there is no file that could be read again"]
