import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import FieldLine, Fields
from proxy.policy.globs import compile_glob
from proxy.policy.tags import (
    MOST_TAG_BYTES,
    MOST_TAGS,
    RouteTags,
    are_too_many,
    for_clients,
    group_tags,
    invalidated_groups,
    tag_values,
)
from tests.support.routing import get

NAMED: list[tuple[list[FieldLine], tuple[bytes, ...]]] = [
    ([], ()),
    ([(b"Surrogate-Key", b"a b")], (b"a", b"b")),
    ([(b"XKEY", b"a,b"), (b"xkey", b"c")], (b"a", b"b", b"c")),
    ([(b"Cache-Tag", b" a ,, b\tc , ")], (b"a", b"b", b"c")),
    ([(b"Cache-Tag", b"")], ()),
    ([(b"xkey", b"a A a"), (b"Cache-Tag", b"a,z")], (b"a", b"z", b"A")),
    ([(b"Cache-Groups", b'"g 1", "g,2";x')], (b"g 1", b"g,2")),
    ([(b"Cache-Groups", b'"a"'), (b"Cache-Groups", b'"b", ""')], (b"a", b"b")),
    ([(b"Cache-Groups", b'"a", b')], ()),
    ([(b"Cache-Groups", b"a")], ()),
    ([(b"Surrogate-Key", b"a"), (b"Cache-Groups", b'"a", "b"')], (b"a", b"b")),
]


@pytest.mark.parametrize(("lines", "tags"), NAMED)
def test_tags_of_a_response(lines: list[FieldLine], tags: tuple[bytes, ...]) -> None:
    assert tag_values(Fields(lines)) == tags


@pytest.mark.parametrize(
    ("templates", "pattern", "target", "tags"),
    [
        ((), "/{id}", b"/1", ()),
        (("all", "product:{id}"), "/{id}", b"/42", (b"all", b"product:42")),
        (("{id}", "all"), "/{id}", b"/42?id=7", (b"42", b"all")),
        (("{a}-{b}-{a}",), "/{a}/{b}", b"/x/y", (b"x-y-x",)),
        (("{b}", "{a}"), "/{a}/{b}", b"/x/y", (b"y", b"x")),
        (("product:{id}",), "/{id}", b"/caf%C3%A9", (b"product:caf%C3%A9",)),
        (("{id}",), "/{id}", b"/4%32", (b"42",)),
        (("{id}",), "/{id}", b"/{x}%25b", (b"{x}%25b",)),
        (("100%:{id}%b", "%%"), "/{id}", b"/1", (b"100%:1%b", b"%%")),
        (("{{id}}", "{id", "{}", "{1}"), "/{id}", b"/1", (b"{1}", b"{id", b"{}", b"{1}")),
        (("product:{id}", "b"), "/{other}", b"/1", (b"b",)),
        (("{id}-{other}", "b"), "/{id}", b"/1", (b"b",)),
        (("caf\u00e9:{id}",), "/{id}", b"/1", ("caf\u00e9:1".encode(),)),
        (("product:{id}", "b"), "/products/{id}", b"/other", (b"b",)),
        (("product:{id}", "b"), "/{id}", b"/../1", (b"b",)),
    ],
)
def test_tags_of_a_route(
    templates: tuple[str, ...], pattern: str, target: bytes, tags: tuple[bytes, ...]
) -> None:
    assert RouteTags(templates, compile_glob(pattern)).of(target) == tags


def test_what_stands_in_for_a_route_names_no_part_of_a_path() -> None:
    assert RouteTags(("product:{id}", "%b", "b"), None).of(b"/42") == (b"%b", b"b")


@pytest.mark.parametrize(
    ("tags", "too_many"),
    [
        ([], False),
        ([b"a"] * MOST_TAGS, False),
        ([b"a"] * (MOST_TAGS + 1), True),
        ([b"a" * MOST_TAG_BYTES], False),
        ([b"a", b"a" * (MOST_TAG_BYTES + 1)], True),
    ],
)
def test_limits(tags: list[bytes], too_many: bool) -> None:
    assert are_too_many(tags) is too_many


def test_clients_see_groups_but_no_tags() -> None:
    fields = Fields(
        [
            (b"Surrogate-Key", b"a"),
            (b"A", b"1"),
            (b"xkey", b"b"),
            (b"Cache-Groups", b'"c"'),
            (b"CACHE-TAG", b"d"),
        ]
    )

    assert for_clients(fields) == Fields([(b"A", b"1"), (b"Cache-Groups", b'"c"')])


def test_fields_without_tags_stay_the_same_object() -> None:
    fields = Fields([(b"A", b"1")])

    assert for_clients(fields) is fields


@given(st.lists(st.tuples(st.sampled_from([b"xkey", b"cache-tag", b"cache-groups"]), st.binary())))
def test_any_bytes_are_read(lines: list[FieldLine]) -> None:
    tags = tag_values(Fields(lines))

    assert len(tags) == len(set(tags))
    assert b"" not in tags


GROUPS = (b"Cache-Groups", b'"a", "b c";x=1, "a"')


def test_groups_are_tags_of_their_own_origin() -> None:
    fields = Fields([GROUPS])

    assert group_tags(get(b"/"), fields) == (b"http://shop\na", b"http://shop\nb c")
    assert group_tags(get(b"/", host=b"other:81", scheme=b"https"), fields)[0] == b"https://other:81\na"


def test_groups_that_an_answer_invalidates_have_the_same_tags() -> None:
    fields = Fields([(b"Cache-Group-Invalidation", GROUPS[1])])

    assert invalidated_groups(get(b"/"), fields) == group_tags(get(b"/"), Fields([GROUPS]))


@pytest.mark.parametrize("value", [b"a, b", b'"a', b"1", b'("a")', b""])
def test_a_malformed_group_field_names_none(value: bytes) -> None:
    assert group_tags(get(b"/"), Fields([(b"Cache-Groups", value)])) == ()
    assert invalidated_groups(get(b"/"), Fields([(b"Cache-Group-Invalidation", value)])) == ()


def test_groups_count_once() -> None:
    groups = [b"g%d" % number for number in range(MOST_TAGS)]
    fields = Fields([(b"Cache-Groups", b", ".join(b'"%b"' % group for group in groups))])

    assert not are_too_many((*tag_values(fields), *group_tags(get(b"/"), fields)))
