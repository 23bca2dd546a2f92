"""Secrets that are given as files: `token_file: /run/secrets/token` instead of `token: ...`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from proxy.config.faults import Finding, shown
from proxy.config.files import Reader
from proxy.config.nodes import Path
from proxy.config.schema import SECRET_FILES
from proxy.config.values import has_control_character


def put_secrets(values: Any, *, directory: FilePath, reader: Reader) -> list[Finding]:
    """Adds to `values` what the files hold, or says what is wrong; relative names start at `directory`."""
    return list(_put_secrets(values, directory, reader))


def _put_secrets(values: Any, directory: FilePath, reader: Reader) -> Iterator[Finding]:
    for secret_path, file_path in SECRET_FILES.items():
        section = _section(values, secret_path)
        key, file_key = str(secret_path[-1]), str(file_path[-1])
        name = section.get(file_key)
        if not isinstance(name, str) or not name:
            continue
        if section.get(key):
            yield Finding(f"found both {key} and {file_key}, expected one of them", (file_path, secret_path))
            continue
        secret = _secret(directory / name, reader)
        if isinstance(secret, str):
            section[key] = secret
        else:
            yield Finding(f"found {shown(name)}, expected {secret.expected}", (file_path, secret_path))


def _section(values: Any, path: Path) -> dict[str, Any]:
    """The mapping that `path` ends in; an empty one where there is none."""
    section = values
    for step in path[:-1]:
        section = section.get(step) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else {}


class _Unread(NamedTuple):
    expected: str


def _secret(file: FilePath, reader: Reader) -> str | _Unread:
    content = reader.text(file)
    if isinstance(content, OSError):
        return _Unread(f"a readable file: {content.strerror or content}")
    if isinstance(content, UnicodeDecodeError):
        return _Unread("a file of UTF-8 text")
    # Editors and `echo` end a file with a newline that is no part of the secret.
    secret = content.removesuffix("\n").removesuffix("\r")
    if not secret or has_control_character(secret):
        return _Unread("a file of one line of text")
    return secret
