"""Path patterns as the configuration sees them: are they well formed, and which parameters they have.

`*` stands for one segment or a part of one, `**` for any number of them, `{name}` for one segment with
a name.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\*\*|\*|\{([A-Za-z_][A-Za-z0-9_]*)\}|[^*{}]+")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f?#\\]|//|\*\*\*")


def checked(given: object) -> str:
    """The pattern as written. Raises ValueError where it could never match or has no clear meaning."""
    if not isinstance(given, str) or not given.startswith("/"):
        raise ValueError("expected a path pattern such as /products/{id} or /static/**")
    if _FORBIDDEN.search(given):
        raise ValueError("expected a path without query, fragment, spaces, //, backslashes or ***")
    if "".join(token[0] for token in _TOKEN.finditer(given)) != given:
        raise ValueError("expected every { to begin a parameter such as {id}")
    names = parameters(given)
    if len(set(names)) != len(names):
        raise ValueError("expected each parameter name once")
    return given


def parameters(text: str) -> tuple[str, ...]:
    """The names in braces, in order; of a path pattern or of a tag template."""
    return tuple(_PARAMETER.findall(text))
