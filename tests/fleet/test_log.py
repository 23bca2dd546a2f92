import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.fleet.log import Draft, Registration, boot_clock
from proxy.model import Position
from tests.support.purging import position, url

u64 = st.integers(0, 2**64 - 1)
positions = st.builds(Position, st.integers(1, 2**53), u64, u64, u64)


def test_the_clock_counts_what_the_machine_slept():
    before = time.clock_gettime(time.CLOCK_BOOTTIME)

    assert before <= boot_clock() <= time.clock_gettime(time.CLOCK_BOOTTIME)


@given(st.none() | positions, st.integers(0, 2**63))
def test_a_registration_survives_as_text(place, beat):
    assert Registration.decode(Registration(place, beat).encode()) == (place, beat, None)


def test_the_server_adds_when_a_registration_came():
    text = Registration(position(5), 7).encode()

    assert Registration.decode(f"{text} 1700000000123") == (position(5), 7, 1_700_000_000_123)


@pytest.mark.parametrize(
    "text", ["", "1 2 3", "1 x 3 4 5 6", "a b c d e", "1 zz 3 4 5", "1 2 3 4 5 x", "1 2 3 4 5 6 7"]
)
def test_a_faulty_registration_has_applied_nothing(text):
    assert Registration.decode(text) == (None, 0, None)


def test_a_draft_becomes_a_record_where_it_was_appended():
    record = Draft("u", (url("/a"),), soft=True).at(position(5))

    assert (record.position, record.uid, record.selectors, record.soft) == (
        position(5),
        "u",
        (url("/a"),),
        True,
    )
