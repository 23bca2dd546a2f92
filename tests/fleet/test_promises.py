"""Each line of the table of promises in docs/invalidation.md names tests, and these exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
TEXT = (TESTS.parent / "docs" / "invalidation.md").read_text()
ROWS = re.findall(
    r"^\| (.+?) \| (.+?) \| (`\w+/test_.+) \|$", TEXT.partition("| what fails |")[2], re.MULTILINE
)


def named_in(cell):
    """File -> its tests, of "`file`: `test`, `test`; `file`: `test`"."""
    return {
        file: re.findall(r"`(\w+)`", tests) for file, tests in re.findall(r"`([\w/]+\.py)`: ([^;]+)", cell)
    }


@pytest.mark.parametrize(("what_fails", "cell"), [(row[0], row[2]) for row in ROWS])
def test_a_promise_names_tests_that_exist(what_fails, cell):
    named = named_in(cell)

    assert named
    for file, tests in named.items():
        source = (TESTS / file).read_text()
        assert tests
        assert [test for test in tests if f"def {test}(" not in source] == []


def test_every_line_of_the_table_is_checked():
    table = TEXT.partition("| what fails |")[2].partition("\n\n")[0]

    assert len(ROWS) == table.count("\n") - 1
