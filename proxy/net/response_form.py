"""What the origin says again and again, learned: one pattern for a whole head with known field names.

An API answers with a few lists of field names. Once such a list has been seen often enough, its heads are
read by one match, which gives the values, in a third of the time that lines of any name take. What no form
takes is read as before. Pure: bytes in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

from proxy.model import FieldNames, Values
from proxy.net.fields import VALUE

SIGHTINGS = 64
"""Of a list of names before its pattern is made, which takes up to 2 ms."""
MOST_FORMS = 4
"""Tried one after the other, the last used first; one that does not fit takes 0.3 us."""
MOST_NAMES = 64


class Form:
    """The heads with one list of field names."""

    __slots__ = ("match", "names")

    def __init__(self, names: FieldNames, status_line: bytes) -> None:
        """`status_line`: a pattern with three groups."""
        lines = b"".join([re.escape(name) + _REST_OF_LINE for name in names.listed])
        self.names = names
        self.match: Callable[[bytes], re.Match[bytes] | None] = re.compile(
            status_line + lines + rb"\r\n"
        ).fullmatch


# A value that ends with white space is left to those who strip it.
_REST_OF_LINE = rb":[ \t]*+(" + VALUE + rb"*+)(?<![ \t])\r\n"


class Forms:
    """The forms in use, and how often other lists of names were seen."""

    def __init__(self, status_line: bytes) -> None:
        self._status_line = status_line
        self._forms: list[Form] = []

    def read(self, raw: bytes) -> tuple[FieldNames, Values, Values] | None:
        """The names, the groups of the status line, and the values; None: no form takes this head.

        Where there is no reason, not even an empty one, its group is None.
        """
        for place, form in enumerate(self._forms):
            found = form.match(raw)
            if found is not None:
                if place:
                    self._forms.insert(0, self._forms.pop(place))
                groups = cast(Values, found.groups())
                return form.names, groups[:3], groups[3:]
        return None

    def see(self, names: FieldNames) -> None:
        """A head with these names was read otherwise."""
        if len(names.listed) > MOST_NAMES:
            return
        seen = names.derived(_Seen)
        seen.times += 1
        if seen.times >= SIGHTINGS:
            seen.times = 0
            # Made once: an origin with more lists than there are forms has them take turns.
            form = seen.form = seen.form or Form(names, self._status_line)
            others = [other for other in self._forms if other is not form]
            self._forms = [form, *others[: MOST_FORMS - 1]]


class _Seen:
    """How often heads with these names were read without a form, and their form once it was made."""

    __slots__ = ("form", "times")

    def __init__(self, _names: FieldNames) -> None:
        self.times = 0
        self.form: Form | None = None
