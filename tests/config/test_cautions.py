from __future__ import annotations

import pytest

from tests.support.configs import warnings_of

ORIGIN = "origin: {url: http://h:1}\n"
HEAD = ORIGIN + "routes:\n"
LONG = "0123456789abcdef"

DANGEROUS = [
    (
        HEAD + "- {name: a, match: {path: /a}, identity: shared}",
        [
            (
                "x.yaml:3:42: routes[a].identity: shared:"
                " answers to requests with Authorization or cookies are given to everybody"
            )
        ],
    ),
    (
        HEAD + "- {name: a, match: {path: /a}, ignore_cookies: yes}",
        [
            (
                "x.yaml:3:48: routes[a].ignore_cookies: true:"
                " an answer made for one user's cookies is given to others; prefer names"
            )
        ],
    ),
    (
        HEAD + "- {name: a, match: {path: /a}, override: [no-store, private]}",
        [
            (
                "x.yaml:3:32: routes[a].override: no-store, private:"
                " answers that the origin protects are stored and shared"
            )
        ],
    ),
    (
        HEAD + "- {name: a, match: {path: /a}, respect_origin: no, ttl: 5m}",
        [
            (
                "x.yaml:3:48: routes[a].respect_origin: false:"
                " answers stay for the route's ttl, also where the origin says less"
            )
        ],
    ),
    (
        HEAD + "- {name: a, match: {path: /a}, coalesce: {scope: fleet, wait: 5s}}",
        ["x.yaml:3:50: routes[a].coalesce.scope: fleet: works as process, as l2.url is off"],
    ),
    (
        HEAD + "- {name: a, match: {path: /a}, coalesce: {scope: fleet}}\nl2: {url: embedded}",
        ["x.yaml:3:50: routes[a].coalesce.scope: fleet: works as process, as l2.url is embedded"],
    ),
    (
        ORIGIN + "l2: {url: redis://h}",
        [
            (
                "x.yaml:2:11: l2.namespace: sidecache:"
                " services that share this Redis must have different namespaces"
            )
        ],
    ),
    (
        HEAD + "- {name: a, match: {path: /a}, identity: {cookie: s}}\nl2: {url: redis://h, namespace: shop}",
        [
            (
                "x.yaml:4:11: secret: missing: in a shared Redis,"
                " hashes of users' identities are keyed by l2.namespace alone"
            )
        ],
    ),
    (
        HEAD + "- {name: a, match: {path: /a}, key: {headers: [X-T]}}\nl2: {url: redis://h, namespace: shop}",
        [
            (
                "x.yaml:4:11: secret: missing: in a shared Redis,"
                " hashes of users' identities are keyed by l2.namespace alone"
            )
        ],
    ),
    (
        ORIGIN + "admin: {token: 0123456789abcde}\nsecret: short",
        [
            "x.yaml:2:16: admin.token: shorter than 16 characters",
            "x.yaml:3:9: secret: shorter than 16 characters",
        ],
    ),
    (
        ORIGIN + "data_purge: {from: [10.0.0.0/8, 0.0.0.0/7, '::/31']}",
        [
            "x.yaml:2:33: data_purge.from[#2]: 0.0.0.0/7: nearly everybody may purge on the data port",
            "x.yaml:2:44: data_purge.from[#3]: ::/31: nearly everybody may purge on the data port",
        ],
    ),
    (
        ORIGIN + "warm: {from: l2}",
        ["x.yaml:2:14: warm.from: l2: finds nothing, as l2.url is off"],
    ),
    (
        ORIGIN + "warm: {keys: 5}",
        ["x.yaml:2:1: warm: has no effect without from: l2"],
    ),
    (
        ORIGIN + "profile: rfc9111",
        ["x.yaml:2:10: profile: rfc9111: answers with Set-Cookie are stored and shared"],
    ),
]

HARMLESS = [
    HEAD + "- {name: a, match: {path: /a}, identity: shared, cache: no}",
    HEAD + "- {name: a, match: {path: /a}, ignore_cookies: [utm]}",
    HEAD + "- {name: a, match: {path: /a}, coalesce: {scope: process}}",
    ORIGIN + "l2: {url: embedded}",
    ORIGIN + "warm: {from: off}",
    ORIGIN + "warm: {from: l2}\nl2: {url: redis://h, namespace: shop}",
    ORIGIN + "l2: {url: redis://h, namespace: shop}",
    HEAD + "- {name: a, match: {path: /a}, coalesce: {wait: 5s}}",
    HEAD
    + "- {name: a, match: {path: /a}, coalesce: {scope: fleet}}\n"
    + "l2: {url: redis://h, namespace: shop}",
    HEAD + "- {name: a, match: {path: /a}, identity: {cookie: sid}}\nl2: {url: embedded}",
    HEAD
    + "- {name: a, match: {path: /a}, identity: {cookie: sid}}\n"
    + f"l2: {{url: redis://h, namespace: shop}}\nsecret: {LONG}",
    ORIGIN + f"admin: {{token: {LONG}}}",
    ORIGIN + "data_purge: {from: [10.0.0.0/8, 'fd00::/32']}",
]


@pytest.mark.parametrize(("text", "warnings"), DANGEROUS)
def test_what_is_legal_but_dangerous_is_warned_of(text: str, warnings: list[str]) -> None:
    assert warnings_of(text) == warnings


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_is_not(text: str) -> None:
    assert warnings_of(text) == []
