"""Lines are checked as bytes on the real streams."""

from __future__ import annotations

import logging

import orjson
import pytest
import structlog

from proxy.model import Fields
from proxy.observe import logs


def test_a_line_is_one_json_object_on_stderr(capfdbinary):
    logs.configure(level="info", form="json")

    structlog.get_logger("sidecache.test").warning("slow origin", seconds=0.25, target=b"/a")

    out, err = capfdbinary.readouterr()
    line = orjson.loads(err)
    assert out == b""
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "slow origin",
        "level": "warning",
        "logger": "sidecache.test",
        "seconds": 0.25,
        "target": "/a",
    }


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_only_lines_at_or_above_the_level_are_written(level, written, capfdbinary):
    logs.configure(level=level, form="json")
    logger = structlog.get_logger("sidecache.test")

    for method in ("debug", "info", "warning", "error"):
        getattr(logger, method)("event")

    lines = capfdbinary.readouterr().err.splitlines()
    assert [orjson.loads(line)["level"] for line in lines] == written


def test_a_line_below_the_level_is_never_formatted(capfdbinary):
    class Unprintable:
        def __repr__(self) -> str:
            raise AssertionError("formatted")

    logs.configure(level="warning", form="json")

    structlog.get_logger("sidecache.test").info("event", value=Unprintable())

    assert capfdbinary.readouterr().err == b""


def test_a_new_level_holds_for_loggers_that_were_used_before(capfdbinary):
    logger = structlog.get_logger("sidecache.test")
    logs.configure(level="error", form="json")
    logger.info("withheld")

    logs.configure(level="info", form="json")
    logger.info("written")

    assert b"written" in capfdbinary.readouterr().err


def test_access_lines_go_to_stdout_whatever_the_level(capfdbinary):
    logs.configure(level="error", form="json")

    logs.access_logger().info("request", status=200)

    out, err = capfdbinary.readouterr()
    assert orjson.loads(out)["status"] == 200
    assert err == b""


@pytest.mark.parametrize("form", ["json", "console"])
def test_control_characters_forge_no_line_and_move_no_cursor(form, capfdbinary):
    logs.configure(level="info", form=form)

    structlog.get_logger("sidecache.test").info(
        "e", target=b"/a\r\n\x1b[31m\x00\x7f\x9b", host="\u202e\u2028"
    )

    err = capfdbinary.readouterr().err
    assert err.count(b"\n") == 1
    assert not set(err.rstrip(b"\n")) & {*range(0x20), 0x7F, 0x9B}
    assert "\u202e".encode() not in err


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain text", "plain text"),
        (b"caf\xe9", "café"),
        ("a\nb", "a\\nb"),
        ("\x1b[0m", "\\x1b[0m"),
        ("\udc80", "\\udc80"),
        ("x" * 2048, "x" * 2048),
        ("x" * 2049, "x" * 2048),
        (7, 7),
        (None, None),
    ],
)
def test_a_value_becomes_printable_text(value, expected):
    assert logs.printable(value) == expected


def test_lines_of_libraries_take_our_form(capfdbinary):
    logs.configure(level="info", form="json")

    logging.getLogger("aiohttp.server").warning("bad %s", "request\n")
    logging.getLogger("aiohttp.server").info("told better by our own lines")

    lines = capfdbinary.readouterr().err.splitlines()
    assert len(lines) == 1
    line = orjson.loads(lines[0])
    assert (line["logger"], line["level"], line["event"]) == ("aiohttp.server", "warning", "bad request\\n")


def test_a_library_line_with_wrong_arguments_is_written_as_it_stands(capfdbinary):
    logs.configure(level="info", form="json")

    logging.getLogger("redis").warning("%d connections", "many")

    assert orjson.loads(capfdbinary.readouterr().err)["event"] == "%d connections"


@pytest.mark.parametrize(("number", "level"), [(35, "warning"), (40, "error"), (70, "critical")])
def test_a_librarys_own_level_is_the_next_one_below(number, level, capfdbinary):
    logs.configure(level="info", form="json")

    logging.getLogger("redis").log(number, "event")

    assert orjson.loads(capfdbinary.readouterr().err)["level"] == level


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_local_variable(form, capfdbinary):
    logs.configure(level="info", form=form)

    def fail() -> None:
        token = "hunter" + "2"
        raise RuntimeError(len(token))

    try:
        fail()
    except RuntimeError:
        structlog.get_logger("sidecache.test").error("crashed", exc_info=True)

    err = capfdbinary.readouterr().err
    assert b"RuntimeError" in err
    assert b"hunter2" not in err


def test_a_traceback_with_a_lone_surrogate_is_still_a_json_line(capfdbinary):
    logs.configure(level="info", form="json")

    try:
        raise RuntimeError("\udc80")
    except RuntimeError:
        structlog.get_logger("sidecache.test").error("crashed", exc_info=True)

    assert orjson.loads(capfdbinary.readouterr().err)["event"] == "'crashed'"


def test_a_stream_that_cannot_be_written_fails_nobody(tmp_path):
    path = tmp_path / "closed.log"
    with path.open("wb") as stream:
        writer = logs.LineWriter(stream, "sidecache.test")
        writer.msg("first")
    writer.msg("second")

    assert path.read_bytes() == b"first\n"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], {}),
        ([(b"Traceparent", b"00-ab-cd-01")], {"traceparent": "00-ab-cd-01"}),
        ([(b"X-Request-ID", b"r1"), (b"traceparent", b"t1")], {"traceparent": "t1", "request_id": "r1"}),
        ([(b"X-Request-Id", b"")], {}),
        ([(b"X-Request-Id", b"r" * 300)], {"request_id": "r" * 200}),
        ([(b"Authorization", b"Bearer s"), (b"Cookie", b"a=s")], {}),
    ],
)
def test_correlation_takes_two_fields_and_no_other(lines, expected):
    assert logs.correlation(Fields(lines)) == expected
