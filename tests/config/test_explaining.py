from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config import explaining
from proxy.config.schema import Config
from tests.support.configs import ORIGIN

EXPLAINED = [
    ({"orign": {}}, ("orign",), "unknown key; did you mean origin?"),
    ({"zzz": None}, ("zzz",), "unknown key"),
    ({"max_entries": 1}, ("max_entries",), "unknown key; did you mean l1.max_entries?"),
    ({"timeout": 1}, ("timeout",), "unknown key"),
    ({"l2": {"time_out": 1}}, ("l2", "time_out"), "unknown key; did you mean timeout?"),
    ({"forwarded": {"fr": 1}}, ("forwarded", "fr"), "unknown key; did you mean for?"),
    ({"forwarded": {"for_": "set"}}, ("forwarded", "for_"), "unknown key; did you mean for?"),
    ({"l1": []}, ("l1",), "found a list, expected a mapping"),
    ({"routes": {}}, ("routes",), "found a mapping, expected a list"),
    ({"routes": "x"}, ("routes",), 'found "x", expected a list'),
    (
        {"defaults": {"override": "private"}},
        ("defaults", "override"),
        'found "private", expected a list',
    ),
    (
        {"profile": "saef"},
        ("profile",),
        'found "saef", expected safe or rfc9111; did you mean safe?',
    ),
    (
        {"admin": {"token_file": {}}},
        ("admin", "token_file"),
        "found a mapping, expected text",
    ),
    ({"defaults": {"coalesce": "x"}}, ("defaults", "coalesce"), 'found "x", expected a mapping'),
    (
        {"defaults": {"negative": {"x": "1s"}}},
        ("defaults", "negative", "x"),
        'found "x", expected a status from 400 to 499, or errors',
    ),
    (
        {"defaults": {"negative": {"404": "x"}}},
        ("defaults", "negative", "404"),
        'found "x", expected a duration such as 250ms, 10s, 5m, 1h or 1d',
    ),
    (
        {"defaults": {"negative": {"errors": {"404": "1s"}}}},
        ("defaults", "negative", "errors", "404"),
        'found "404", expected a status from 500 to 599',
    ),
    (
        {"defaults": {"negative": {"errors": "1s"}}},
        ("defaults", "negative", "errors"),
        'found "1s", expected a mapping',
    ),
    ({"defaults": {"tags": ["x"] * 65}}, ("defaults", "tags"), "found 65 items, expected at most 64"),
    (
        {"routes": [{"name": f"r{number}", "match": {}} for number in range(1001)]},
        ("routes",),
        "found 1001 items, expected at most 1000",
    ),
    (
        {"defaults": {"identity": {"heder": "x"}}},
        ("defaults", "identity"),
        "found a mapping, expected rfc9111, shared, {header: Name} or {cookie: Name}",
    ),
    (
        {"defaults": {"key": {"query": {"include": [{}]}}}},
        ("defaults", "key", "query", "include", 0),
        "found a mapping, expected text",
    ),
    (
        {"routes": [{"name": "a", "match": {"methods": []}}]},
        ("routes", 0, "match", "methods"),
        "found a list, expected at least one",
    ),
    ({"secret": []}, ("secret",), "found a value that is not shown, expected text"),
]


@pytest.mark.parametrize(("section", "path", "message"), EXPLAINED)
def test_error_says_what_was_found_and_what_was_expected(
    section: dict[str, object], path: tuple[object, ...], message: str
) -> None:
    values = {"origin": ORIGIN, **section}
    with pytest.raises(ValidationError) as error:
        Config.model_validate(values)

    (finding,) = explaining.findings(error.value, values)
    assert (finding.about, finding.message) == ((path,), message)


def test_error_that_is_not_in_the_table_is_told_in_the_librarys_words() -> None:
    with pytest.raises(ValidationError) as error:
        Config.model_validate({"origin": ORIGIN, "secret_file": b"\xff"})

    (finding,) = explaining.findings(error.value, {"secret_file": b"\xff"})
    assert finding.message.startswith("found ")


@pytest.mark.parametrize(
    ("section", "blames_key"),
    [({"orign": 1}, True), ({"defaults": {"negative": {"x": "1s"}}}, True), ({"workers": "x"}, False)],
)
def test_key_is_blamed_for_itself_only(section: dict[str, object], blames_key: bool) -> None:
    values = {"origin": ORIGIN, **section}
    with pytest.raises(ValidationError) as error:
        Config.model_validate(values)

    (finding,) = explaining.findings(error.value, values)
    assert finding.blames_key is blames_key
