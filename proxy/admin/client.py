"""The client of the two ports, for the command line: one request, one answer, one deadline.

Standard library only: `sidecache purge` runs beside a busy server and must not load a second one first.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

DEADLINE_SECONDS = 10.0
LARGEST_ANSWER = 64 * 1024 * 1024

_APPLIED = frozenset({200, 202})

Selectors = Mapping[str, Sequence[str] | bool]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a port answered."""

    status: int
    content: dict[str, object]
    """The JSON object; `{"detail": text}` where the answer was no JSON object."""

    @property
    def detail(self) -> str:
        """One line for people, with the fields at fault."""
        return "; ".join([str(self.content.get("detail", self.status)), *_faults(self.content.get("errors"))])


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No answer came, or none that is HTTP."""

    url: str
    reason: str

    def __str__(self) -> str:
        return f"{self.url.partition('?')[0]} does not answer: {self.reason}"


@dataclass(frozen=True, slots=True)
class AdminPort:
    """The admin port of one replica."""

    url: str
    token: str | None = None

    def invalidate(
        self, selectors: Selectors, *, soft: bool, dry_run: bool, wait_seconds: float
    ) -> Reply | Unreachable:
        """POST /purge, or /invalidate when `soft`."""
        parameters = {"wait": f"{wait_seconds}s", "dry_run": str(dry_run).lower()}
        return ask(
            "POST",
            f"{self.url.rstrip('/')}/{'invalidate' if soft else 'purge'}?{urlencode(parameters)}",
            token=self.token,
            content=selectors,
            deadline_seconds=DEADLINE_SECONDS + wait_seconds,
        )

    def warm(
        self, urls: Sequence[str], *, headers: Mapping[str, str], concurrency: int, seconds: float
    ) -> Iterator[Mapping[str, Any] | Reply | Unreachable]:
        """POST /warm: each line as it comes; a Reply that is a refusal, or Unreachable, is the last."""
        parameters = urlencode({"concurrency": concurrency, "timeout": f"{seconds}s"})
        return _lines(
            f"{self.url.rstrip('/')}/warm?{parameters}",
            token=self.token,
            content={"urls": list(urls), "headers": dict(headers)},
            deadline_seconds=DEADLINE_SECONDS + seconds,
        )


@dataclass(frozen=True, slots=True)
class Reach:
    """How far an invalidation came, for people."""

    text: str
    is_done: bool
    """Published, and all replicas say that they applied it; a dry run that was answered is done too."""


def reach(reply: Reply | Unreachable) -> Reach:
    """What the answer to an invalidation means, and what to do where it is not done."""
    if isinstance(reply, Unreachable):
        return Reach(f"{reply}\n{_UNHEARD}", is_done=False)
    content = reply.content
    if "matched" in content:
        return Reach(f"would match {content['matched']} entries of this replica's L1", is_done=True)
    replicas = content.get("replicas")
    if reply.status not in _APPLIED or not isinstance(replicas, dict):
        return Reach(reply.detail, is_done=False)
    if not content.get("published"):
        return Reach(_UNPUBLISHED, is_done=False)
    return _counted(content, replicas)


def _counted(content: Mapping[str, Any], replicas: Mapping[str, Any]) -> Reach:
    known, acknowledged = replicas.get("known"), replicas.get("acknowledged")
    missing = replicas.get("missing") or ()
    refreshing = f"; fetching {content['refreshing']} entries again" if "refreshing" in content else ""
    counted = f"applied by {acknowledged} of {known} replicas{refreshing}"
    if missing:
        return Reach(f"{counted}; missing: {', '.join(map(str, missing))}\n{_MISSING}", is_done=False)
    if acknowledged != known:
        return Reach(f"{counted}; Redis does not say by which\n{_UNCOUNTED}", is_done=False)
    is_certain = content.get("complete") is True
    return Reach(counted if is_certain else f"{counted}\n{_UNCERTAIN}", is_done=True)


_UNHEARD = """\
Nothing says that it was applied.
What to do: ask another replica, with --admin URL; any one will do."""
_UNPUBLISHED = """\
applied by the replica that was asked and by no other: Redis did not take the record
It is kept there, and published as soon as Redis answers.
What to do: send it to another replica too, with --admin URL; if only this one is cut off, that one
publishes it. Do not restart this one, which would forget the record, before its GET /stats says
"unpublished": 0 under fleet.here."""
_MISSING = """\
The record is in the log: they apply it as soon as they read on. One that is cut off from Redis serves
nothing fetched longer ago than l2.max_unsynced (with `when_unsynced: serve` it serves on).
What to do: repeat the command with a longer --wait. If some are missing still, look at GET /stats,
fleet.replicas. "behind_records" falls: it catches up, wait. "silent_seconds" grows: it hangs, is cut
off or has died. Restart it if it still serves; a dead one leaves the list by itself, after four times
l2.max_unsynced at most."""
_UNCOUNTED = """\
The record is in the log, and every replica that reads it applies it.
What to do: repeat the command once Redis answers, to know who has."""
_UNCERTAIN = """\
Not certain yet: the replica that was asked, or the log, is younger than l2.max_unsynced, so that one
which is cut off may not be counted. To be certain, repeat the command later."""


def warmed(line: Mapping[str, Any]) -> str:
    """A line of the answer to `warm`, for people."""
    if "total" in line:
        counted = (
            f"{count} {word}" for word, count in line.items() if word not in {"total", "seconds"} and count
        )
        return f"{line['total']} fetches in {line['seconds']} s: {', '.join(counted)}"
    reason = f" ({line['reason']})" if "reason" in line else ""
    return f"{line.get('result', '?'):<10} {line.get('url', line)}{reason}"


def health(ops_url: str) -> Reply | Unreachable:
    """GET /readyz: 200 when new requests are welcome."""
    return ask("GET", f"{ops_url.rstrip('/')}/readyz")


def drain(ops_url: str) -> Reply | Unreachable:
    """POST /-/drain."""
    return ask("POST", f"{ops_url.rstrip('/')}/-/drain")


def ask(
    method: str,
    url: str,
    *,
    token: str | None = None,
    content: Selectors | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Reply | Unreachable:
    """One request; each wait for the other side ends at the deadline."""
    fields = {"Connection": "close", "Accept": "application/json", **_credentials(token)}
    if content is not None:
        fields["Content-Type"] = "application/json"
    try:
        with closing(_connection(url, deadline_seconds)) as connection:
            body = None if content is None else json.dumps(content).encode()
            connection.request(method, _target(url), body=body, headers=fields)
            response = connection.getresponse()
            return Reply(response.status, _parsed(response.read(LARGEST_ANSWER)))
    except TimeoutError:
        return Unreachable(url, f"nothing came within {deadline_seconds:g} s")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _unreachable(url, error)


def _lines(
    url: str, *, token: str | None, content: object, deadline_seconds: float
) -> Iterator[Mapping[str, Any] | Reply | Unreachable]:
    """One request, its answer line by line; each wait for the other side ends at the deadline."""
    fields = {"Connection": "close", "Content-Type": "application/json", **_credentials(token)}
    try:
        with closing(_connection(url, deadline_seconds)) as connection:
            connection.request("POST", _target(url), body=json.dumps(content).encode(), headers=fields)
            response = connection.getresponse()
            if response.status != HTTPStatus.OK:
                yield Reply(response.status, _parsed(response.read(LARGEST_ANSWER)))
                return
            while line := response.readline(LARGEST_ANSWER):
                yield _parsed(line)
    except TimeoutError:
        yield Unreachable(url, f"nothing came within {deadline_seconds:g} s")
    except (OSError, http.client.HTTPException, ValueError) as error:
        yield _unreachable(url, error)


def _credentials(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _unreachable(url: str, error: Exception) -> Unreachable:
    return Unreachable(url, getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _connection(url: str, deadline_seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected a URL such as http://127.0.0.1:9902")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=deadline_seconds)


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def _parsed(body: bytes) -> dict[str, object]:
    try:
        content = json.loads(body)
    except ValueError:
        content = body.decode("utf-8", "replace").strip()
    return content if isinstance(content, dict) else {"detail": str(content)}


def _faults(errors: object) -> list[str]:
    faults = errors if isinstance(errors, list) else []
    return [f"{fault.get('field')}: {fault.get('message')}" for fault in faults if isinstance(fault, dict)]
