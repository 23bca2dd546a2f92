from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.config.faults import Finding
from proxy.config.files import Reader
from proxy.config.secret_files import put_secrets

TOKEN = (("admin", "token_file"), ("admin", "token"))


def put(values: Any, directory: Path) -> list[Finding]:
    return put_secrets(values, directory=directory, reader=Reader())


@pytest.mark.parametrize(
    ("content", "secret"),
    [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), (" s3cret ", " s3cret ")],
)
def test_secret_is_the_file_without_its_last_newline(tmp_path: Path, content: str, secret: str) -> None:
    (tmp_path / "token").write_text(content, newline="")
    values = {
        "admin": {"token_file": "token"},
        "l2": {"url_file": str(tmp_path / "token")},
        "secret_file": "token",
    }

    assert put(values, tmp_path) == []
    assert values["admin"] == {"token_file": "token", "token": secret}
    assert values["l2"]["url"] == secret
    assert values["secret"] == secret


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a file of one line of text"),
        (b"\n", "a file of one line of text"),
        (b"a\nb\n", "a file of one line of text"),
        (b"a\n\n", "a file of one line of text"),
        (b"\xff", "a file of UTF-8 text"),
    ],
)
def test_file_without_a_secret_is_a_finding(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "token").write_bytes(content)

    found = put({"admin": {"token_file": "token"}}, tmp_path)

    assert found == [Finding(f'found "token", expected {message}', TOKEN)]


def test_unreadable_file_is_a_finding(tmp_path: Path) -> None:
    found = put({"admin": {"token_file": "token"}}, tmp_path)

    assert found == [Finding('found "token", expected a readable file: No such file or directory', TOKEN)]


def test_secret_given_twice_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s")

    found = put({"admin": {"token_file": "token", "token": "t"}}, tmp_path)

    assert found == [Finding("found both token and token_file, expected one of them", TOKEN)]


def test_empty_secret_beside_a_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s")
    values = {"admin": {"token_file": "token", "token": ""}}

    assert put(values, tmp_path) == []
    assert values["admin"]["token"] == "s"


@pytest.mark.parametrize(
    "values",
    [{}, [], None, "x", {"admin": "x"}, {"admin": {"token_file": ["x"]}}, {"admin": {"token_file": ""}}],
)
def test_values_of_another_shape_are_left_to_the_schema(tmp_path: Path, values: Any) -> None:
    assert put(values, tmp_path) == []
