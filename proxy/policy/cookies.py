"""The cookies of a request: which names it carries, and the text of each, for keys and for rules.

Read so that no origin can see a cookie that we do not: where the text has two readings, there is no reading.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from proxy.model import Fields

_OWS = b" \t"
_OPEN_QUOTE = re.compile(rb'[^=]*=[ \t]*"(?![^"\\]*"\Z)')


class Cookie(NamedTuple):
    """One cookie of a Cookie field."""

    name: bytes
    """Before the first `=`; all of it where there is none."""
    text: bytes
    """Name, `=` and value as they came: `a` and `a=` differ."""


def read_cookies(fields: Fields) -> list[Cookie] | None:
    """All cookies of all Cookie lines, in order, repeated names included; None: ambiguous.

    Ambiguous is a quoted value that holds `;`, `"` or a backslash: to some origins `a="1;b=2"` is one cookie.
    """
    cookies = []
    for line in fields.values(b"cookie"):
        for part in line.split(b";"):
            text = part.strip(_OWS)
            if _OPEN_QUOTE.match(text):
                return None
            if text:
                cookies.append(Cookie(text.partition(b"=")[0].rstrip(_OWS), text))
    return cookies
