"""What a learned form takes, and that it reads what would have been read without it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model import names_of
from proxy.net import response_head
from proxy.net.response_form import MOST_FORMS, MOST_NAMES, SIGHTINGS, Forms
from proxy.net.response_head import ReceivedHead, parse_head

STATUS_LINE = rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([^\r\n]*+))?\r\n"


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([status, *lines, b"", b""])


@pytest.fixture(autouse=True)
def forms(monkeypatch: pytest.MonkeyPatch) -> Forms:
    """Of this test alone."""
    made = Forms(response_head._STATUS_LINE)
    monkeypatch.setattr(response_head, "forms", made)
    return made


def learned(*names: bytes) -> Forms:
    made = Forms(STATUS_LINE)
    for _ in range(SIGHTINGS):
        made.see(names_of(names))
    return made


def test_a_list_of_names_is_learned_once_it_was_seen_often_enough(forms: Forms) -> None:
    raw = head(b"Server: a", b"ETag: b")
    reads = []
    for _ in range(SIGHTINGS + 1):
        reads.append(forms.read(raw) is not None)
        expected = parse_head(raw)

    assert reads == [False] * SIGHTINGS + [True]
    assert parse_head(raw) == expected == parse_head(head(b"Server:a", b"ETag: \tb"))


@pytest.mark.parametrize(
    "other",
    [
        head(b"A: 1"),
        head(b"B: 2", b"A: 1"),
        head(b"a: 1", b"B: 2"),
        head(b"A: 1", b"B: 2", b"C: 3"),
        head(b"A: 1 ", b"B: 2"),
        head(b"A: 1\t", b"B: 2"),
        head(b"A: ", b"B: 2"),
        head(b"A : 1", b"B: 2"),
        head(b"A: 1\x00", b"B: 2"),
        head(b"A: 1", b" B: 2"),
        head(b"A: 1", b"B: 2") + b"x",
        head(b"A: 1", b"B: 2")[:-2],
    ],
)
def test_a_form_takes_its_own_names_and_clean_values_only(other: bytes) -> None:
    made = learned(b"A", b"B")

    assert made.read(head(b"A:", b"B:  x\xe9 y")) is not None
    assert made.read(other) is None


def test_a_form_gives_the_status_line_and_the_fields() -> None:
    found = learned(b"A", b"B").read(head(b"A: 1", b"B:", status=b"HTTP/1.0 204"))

    assert found is not None
    assert (found[0].listed, *found[1:]) == ((b"A", b"B"), (b"0", b"204", None), (b"1", b""))


def test_forms_are_few_and_the_last_used_stay(forms: Forms) -> None:
    raws = [head(b"N%d: x" % number) for number in range(MOST_FORMS + 1)]
    for raw in raws[:MOST_FORMS]:
        for _ in range(SIGHTINGS):
            parse_head(raw)
    assert all(forms.read(raw) for raw in raws[:MOST_FORMS])
    assert forms.read(raws[0])
    for _ in range(SIGHTINGS):
        parse_head(raws[-1])

    known = [forms.read(raw) is not None for raw in raws]
    assert known == [True, False, *[True] * (MOST_FORMS - 2), True]


def test_a_form_is_made_once_though_others_take_its_turn(forms: Forms) -> None:
    raws = [head(b"T%d: x" % number) for number in range(MOST_FORMS + 1)]
    made = []
    for _ in range(2):
        for raw in raws:
            while forms.read(raw) is None:
                parse_head(raw)
            made.append(forms._forms[0])

    assert [made[number] is made[number + len(raws)] for number in range(len(raws))] == [True] * len(raws)


def test_very_many_names_are_not_learned() -> None:
    names = [b"N%d" % number for number in range(MOST_NAMES + 1)]

    assert learned(*names).read(head(*[name + b": x" for name in names])) is None
    assert learned(*names[1:]).read(head(*[name + b": x" for name in names[1:]])) is not None


NAMES = st.lists(st.sampled_from([b"A", b"a", b"Content-Length", b"X%", b"$^"]), max_size=3)
VALUES = st.sampled_from([b"", b" ", b"1", b" 1 ", b"\t1\t", b"a b", b"\xe9"]) | st.binary(max_size=3)
EDITS = st.none() | st.tuples(st.floats(0, 1), st.sampled_from([b"", b" ", b"\r\n", b":", b"\r", b"\n"]))


@settings(max_examples=400)
@given(NAMES, st.data(), EDITS)
def test_what_a_form_reads_is_what_is_read_without_it(
    names: list[bytes], data: st.DataObject, edit: tuple[float, bytes] | None
) -> None:
    raw = head(*[name + b":" + data.draw(VALUES) for name in names])
    if edit is not None:
        place = int(edit[0] * len(raw))
        raw = raw[:place] + edit[1] + raw[place:]
    if raw.find(b"\r\n\r\n") != len(raw) - 4:  # the parser gives whole heads only
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(response_head, "forms", Forms(response_head._STATUS_LINE))
        expected = parse_head(raw)
        for _ in range(SIGHTINGS):
            parse_head(head(*[name + b": x" for name in names]))
        given_ = parse_head(raw)

    assert given_ == expected
    if isinstance(given_, ReceivedHead) and isinstance(expected, ReceivedHead):
        assert given_.fields.lines == expected.fields.lines
