from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.config.files import MOST_BYTES, Reader, have_changed


def test_content_is_read_and_remembered(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("caf\u00e9\n", encoding="utf-8")
    reader = Reader()

    assert reader.text(file) == "caf\u00e9\n"
    assert list(reader.sources) == [file]
    assert not have_changed(reader.sources)


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent", "No such file or directory"), ("", "Is a directory"), ("a\0b", "embedded null byte")],
)
def test_why_a_file_cannot_be_read_is_a_value(tmp_path: Path, name: str, message: str) -> None:
    reader = Reader()
    error = reader.text(tmp_path / name)

    assert isinstance(error, OSError)
    assert message in str(error)
    assert not have_changed(reader.sources)


def test_file_that_is_not_text_is_a_value_and_still_watched(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"\xff")
    reader = Reader()

    assert isinstance(reader.text(file), UnicodeDecodeError)
    file.write_bytes(b"x")
    assert have_changed(reader.sources)


@pytest.mark.parametrize(("size", "kind"), [(MOST_BYTES, str), (MOST_BYTES + 1, OSError)])
def test_size_is_bounded(tmp_path: Path, size: int, kind: type) -> None:
    file = tmp_path / "a"
    file.write_bytes(b" " * size)

    assert isinstance(Reader().text(file), kind)


def test_change_is_noticed_by_content_not_by_time(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    reader = Reader()
    reader.text(file)

    os.utime(file, (1, 1))
    assert not have_changed(reader.sources)
    before = file.stat()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert have_changed(reader.sources)


def test_file_that_appears_or_vanishes_is_a_change(tmp_path: Path) -> None:
    file = tmp_path / "a"
    absent = Reader()
    absent.text(file)
    file.write_text("one")
    present = Reader()
    present.text(file)

    assert have_changed(absent.sources)
    file.unlink()
    assert have_changed(present.sources)
