"""How log lines look and where they go: access lines to stdout, all others to stderr.

Knows structlog and the levels; must not know what is logged. A line below the level is never formatted.
Secrets never come here: no caller passes fields, only `correlation` and the target (query included).
"""

from __future__ import annotations

import logging
import sys
from typing import Any, BinaryIO

import orjson
import structlog
from structlog.typing import EventDict, Processor

from proxy.model import Fields

ACCESS = "sidecache.access"
LONGEST_VALUE = 2048
"""Characters of one text in a line; targets may be 64 KiB."""

_CORRELATION = ((b"traceparent", "traceparent"), (b"x-request-id", "request_id"))
_LONGEST_CORRELATION = 200


class LineWriter:
    """Writes whole lines. A log that cannot be written must not fail the request it is about."""

    __slots__ = ("_stream", "name")

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: bytes | str) -> None:
        """Write one line at once; an error of the stream is ignored: there is nowhere to report it."""
        encoded = line if isinstance(line, bytes) else line.encode("utf-8", "backslashreplace")
        try:
            self._stream.write(encoded + b"\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = msg


def configure(*, level: str, form: str) -> None:
    """Every logger from now on, ours and those of libraries, also those handed out before."""
    threshold = getattr(logging, level.upper())
    structlog.configure(
        processors=_processors(form),
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_line_writer,
        # Cached loggers would keep the level that they were first used with: a reload could not change it.
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_FromLibraries()]
    # Libraries tell at `info` what our own lines tell better.
    root.setLevel(max(threshold, logging.WARNING))


def access_logger() -> Any:
    """The logger of access lines: `logs.access` decides which are written, not `logs.level`.

    To be asked for after `configure`: bound, which fixes its form and halves a line's cost (12 to 7 us).
    """
    unfiltered = structlog.make_filtering_bound_logger(logging.NOTSET)
    return structlog.wrap_logger(None, wrapper_class=unfiltered, logger_factory_args=(ACCESS,)).bind()


def correlation(fields: Fields) -> dict[str, str]:
    """What ties a line to the client's own logs: its traceparent and X-Request-Id, where given."""
    found = ((word, fields.first(name)) for name, word in _CORRELATION)
    return {word: value[:_LONGEST_CORRELATION].decode("latin-1") for word, value in found if value}


def printable(value: object) -> object:
    """Text without control characters (they forge lines and move cursors), cut to LONGEST_VALUE."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return value
    value = value[:LONGEST_VALUE]
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in value)


class _FromLibraries(logging.Handler):
    """Gives the lines of the standard library's loggers (asyncio, aiohttp, redis) our form."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        # structlog knows the five levels only; libraries may have more between them.
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        logger.log(level, message, exc_info=record.exc_info)


def _line_writer(name: str = "sidecache") -> LineWriter:
    stream = sys.stdout if name == ACCESS else sys.stderr
    return LineWriter(stream.buffer, name)


def _processors(form: str) -> list[Processor]:
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _add_logger,
        _make_printable,
    ]
    if form == "console":
        return [*shared, _console_renderer()]
    return [*shared, structlog.processors.format_exc_info, _render_json]


def _console_renderer() -> Processor:
    # The default traceback shows local variables, and with them secrets; it also imports rich.
    return structlog.dev.ConsoleRenderer(
        timestamp_key="time",
        colors=sys.stderr.isatty(),
        exception_formatter=structlog.dev.plain_traceback,
    )


def _add_logger(logger: LineWriter, _method: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    return event


def _make_printable(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {key: printable(value) for key, value in event.items()}


def _render_json(_logger: object, _method: str, event: EventDict) -> bytes:
    try:
        return orjson.dumps(event, default=repr)
    except orjson.JSONEncodeError:  # a traceback with a lone surrogate, a number beyond 64 bits
        return orjson.dumps({key: ascii(value) for key, value in event.items()})
