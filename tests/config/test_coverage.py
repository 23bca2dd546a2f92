from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import coverage
from proxy.config.coverage import covers, paths
from proxy.policy.globs import compile_glob

COVERED = [
    ("/**", "/x"),
    ("/**", "/**"),
    ("/cart/**", "/cart"),
    ("/cart/**", "/cart/"),
    ("/cart/**", "/cart/{id}/items"),
    ("/p/{id}", "/p/*"),
    ("/p/*", "/p/{id}"),
    ("/p/*.css", "/p/{id}.css"),
    ("/a/**/b", "/a/b"),
    ("/a/**/b", "/a/**/c/b"),
    ("/%7ejoe", "/~joe"),
    ("/x*", "/xy"),
    ("/{a}/{b}", "/x/y"),
]
NOT_COVERED = [
    ("/cart/**", "/cartoon"),
    ("/p/{id}.css", "/p/*.css"),
    ("/{a}/**", "/**"),
    ("/*", "/"),
    ("/p/{id}", "/p/{id}/x"),
    ("/P", "/p"),
    ("/a/*b", "/a/*"),
]


@pytest.mark.parametrize(("earlier", "later"), COVERED)
def test_earlier_pattern_takes_all_of_the_later(earlier: str, later: str) -> None:
    assert covers(paths(earlier), paths(later))


@pytest.mark.parametrize(("earlier", "later"), NOT_COVERED)
def test_some_path_is_left_for_the_later(earlier: str, later: str) -> None:
    assert not covers(paths(earlier), paths(later))


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads the file loses a report then, not the process."""
    monkeypatch.setattr(coverage, "MOST_STATES", 3)

    assert covers(paths("/**"), paths("/a"))
    assert not covers(paths("/**"), paths("/abc"))


segments = st.sampled_from(["a", "b", "*", "**", "{x}", "a*", "*b", "{y}b"])
requested = st.lists(st.sampled_from(["a", "b", "ab", "c"]), min_size=1, max_size=4).map(
    lambda s: "/" + "/".join(s)
)


@given(
    earlier=st.lists(segments, min_size=1, max_size=3, unique=True),
    later=st.lists(segments, min_size=1, max_size=3, unique=True),
    path=requested,
)
def test_routes_agree_on_what_is_covered(earlier: list[str], later: list[str], path: str) -> None:
    one, other = "/" + "/".join(earlier), "/" + "/".join(later)
    if covers(paths(one), paths(other)) and compile_glob(other).matches(path.encode()) is not None:
        assert compile_glob(one).matches(path.encode()) is not None
