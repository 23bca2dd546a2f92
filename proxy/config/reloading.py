"""Keeps the policy in force up to date with its file: polls its content, or reads it again when asked.

All or nothing: a faulty file changes nothing and is reported once. Knows no signal and no route:
`apply` puts a configuration in force, and whoever owns the process starts `run` and calls `ask`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from proxy.config.changes import changed_keys, merged, needing_restart
from proxy.config.faults import Fault
from proxy.config.files import have_changed
from proxy.config.loading import Faults, Loaded, load
from proxy.config.schema import Config

POLL_SECONDS = 2.0

_log = structlog.get_logger("sidecache.config")


class ResultCounter(Protocol):
    """Counts reloads by result."""

    def add(self, *labels: str) -> None:
        """One more with this result."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The file's new policies are in force."""

    changed: tuple[str, ...]
    """Dotted keys that differ from before."""
    needs_restart: tuple[str, ...]
    """Those of them that keep their old value until the process is started again."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The file says what is in force already."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The file is faulty; the policy that was in force stays."""

    faults: tuple[Fault, ...]


Result = Reloaded | Unchanged | Rejected
_WORDS: Mapping[type[Result], str] = {Reloaded: "reloaded", Unchanged: "unchanged", Rejected: "rejected"}


class Reloader:
    """The one way by which a running process gets another configuration."""

    def __init__(
        self,
        path: Path,
        loaded: Loaded,
        *,
        environ: Mapping[str, str],
        apply: Callable[[Config], None],
        counter: ResultCounter,
        clock: Callable[[], float] = time.time,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._path = path
        self._environ = environ
        self._apply = apply
        self._counter = counter
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._asked = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

        self._put_in_force(loaded)
        self._sources = loaded.sources
        """What was read last, also of a faulty file: only other content is worth another try."""
        self._was_accepted = True

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config

    def gauges(self) -> dict[str, Callable[[], Mapping[tuple[str, ...], float]]]:
        """For `Metrics.gauges`: whether the last file was accepted, and what is in force since when."""
        return {
            "config_last_reload_success": lambda: {(): float(self._was_accepted)},
            "config_loaded_at_seconds": lambda: {(): self._loaded_at},
            "config_info": lambda: {(self._digest,): 1.0},
        }

    def ask(self) -> None:
        """Have `run` read the file again now, changed or not (SIGHUP)."""
        self._asked.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._poll_seconds):
                    await self._asked.wait()
            except TimeoutError:
                await self.poll()
            else:
                self._asked.clear()
                await self.reload()

    async def poll(self) -> Result | None:
        """Read the file again if its content, or that of a secret file, has changed; None: it has not."""
        async with self._one_at_a_time:
            is_other = await asyncio.to_thread(have_changed, self._sources)
            return await self._reload() if is_other else None

    async def reload(self) -> Result:
        """Read the file again and apply it if it has no fault."""
        async with self._one_at_a_time:
            return await self._reload()

    async def _reload(self) -> Result:
        # In a thread: a large file takes longer to parse than requests may be kept waiting.
        read = await asyncio.to_thread(load, self._path, environ=self._environ)
        self._sources = read.sources
        result = self._rejected(read) if isinstance(read, Faults) else self._accepted(read)
        self._was_accepted = isinstance(read, Loaded)
        self._counter.add(_WORDS[type(result)])
        return result

    def _rejected(self, read: Faults) -> Rejected:
        _log.error("configuration rejected, the old one stays", faults=[str(fault) for fault in read.faults])
        return Rejected(read.faults)

    def _accepted(self, read: Loaded) -> Reloaded | Unchanged:
        changed = changed_keys(self.config, read.config)
        if not changed:
            return Unchanged()
        config = merged(self.config, read.config)
        self._apply(config)
        self._put_in_force(Loaded(config, read.warnings, read.sources))
        needs_restart = needing_restart(changed)
        _log.info("configuration reloaded", changed=changed, needs_restart=needs_restart)
        for warning in read.warnings:
            _log.warning("configuration warning", warning=str(warning))
        return Reloaded(changed, needs_restart)

    def _put_in_force(self, loaded: Loaded) -> None:
        self._config = loaded.config
        self._digest = loaded.digest
        self._loaded_at = self._clock()


class FixedConfiguration:
    """The configuration of `serve --origin`: there is no file to read again."""

    def __init__(self, config: Config) -> None:
        self.config = config

    async def reload(self) -> Result:
        """Always rejected."""
        return Rejected((Fault("--origin", 0, 0, "there is no file that could be read again"),))
