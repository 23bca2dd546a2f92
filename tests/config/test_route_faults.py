from __future__ import annotations

import pytest

from proxy.config.route_faults import ROUTE_FAULTS
from tests.support.configs import faults_of

HEAD = "origin: {url: http://h:1}\nroutes:\n"

FAULTY = [
    (
        HEAD + "- {name: a, match: {path: /a}}\n- {name: a, match: {path: /b}}",
        ["x.yaml:4:10: routes[a].name: found a a second time, expected each name once"],
    ),
    (
        HEAD + "- {name: unmatched, match: {path: /a}}",
        [
            (
                "x.yaml:3:10: routes[unmatched].name: found unmatched, expected another name:"
                " requests without a route have it"
            )
        ],
    ),
    (
        HEAD + "- {name: a, match: {path: /p/**}}\n- {name: b, match: {path: '/p/{id}', methods: [GET]}}",
        [
            "x.yaml:4:13: routes[b].match: unreachable: the earlier route a (/p/**) takes all its requests",
        ],
    ),
    (
        HEAD + "- {name: a, match: {methods: [GET]}}\n- {name: b, match: {path: /p, methods: [HEAD, GET]}}",
        ["x.yaml:4:13: routes[b].match: unreachable: the earlier route a (/**) takes all its requests"],
    ),
    (
        HEAD + "- {name: a, match: {path: '/**/*.css'}}",
        [
            (
                "x.yaml:3:27: routes[a].match.path: found /**/*.css,"
                " expected a path that begins with a literal, as in /static/**"
            )
        ],
    ),
    (
        HEAD + "- {name: a, match: {path: /}, identity: shared, override: [private, set-cookie, no-store]}",
        [
            (
                "x.yaml:3:49: routes[a].override: found private together with identity: shared, which gives"
                " everybody answers that the origin marks as one user's;"
                " expected identity: {header: Name} or {cookie: Name}"
            ),
            (
                "x.yaml:3:49: routes[a].override: found set-cookie together with identity: shared,"
                " which gives everybody one user's cookies;"
                " expected identity: {header: Name} or {cookie: Name}"
            ),
        ],
    ),
    (
        "origin: {url: http://h:1}\ndefaults: {identity: shared, override: [private]}",
        [
            (
                "x.yaml:2:30: defaults.override: found private together with identity: shared, which gives"
                " everybody answers that the origin marks as one user's;"
                " expected identity: {header: Name} or {cookie: Name}"
            ),
        ],
    ),
    (
        HEAD + "- {name: a, match: {path: /a}, key: {headers: [Authorization, Cookie]}}",
        [
            (
                "x.yaml:3:38: routes[a].key.headers: found authorization,"
                " expected identity: {header: Authorization}, which covers RFC 9111 §3.5 too"
            ),
            (
                "x.yaml:3:38: routes[a].key.headers: found cookie,"
                " expected the cookies that matter, by name, in key.cookies"
            ),
        ],
    ),
    (
        HEAD + "- {name: a, match: {path: /a}, max_body: 2MiB}",
        [
            (
                "x.yaml:3:42: routes[a].max_body: found 2097152 bytes,"
                " expected at most l1.max_entry_bytes (1048576 bytes)"
            )
        ],
    ),
    (
        HEAD + "- {name: a, match: {path: '/p/{id}'}, tags: ['p', 'p:{idd}', '{x}']}",
        [
            "x.yaml:3:51: routes[a].tags[#2]: found {idd} in p:{idd}, expected id; did you mean id?",
            "x.yaml:3:62: routes[a].tags[#3]: found {x} in {x}, expected id",
        ],
    ),
    (
        "origin: {url: http://h:1}\ndefaults: {tags: ['p:{id}']}",
        ["x.yaml:2:19: defaults.tags[#1]: found {id} in p:{id}, expected a path with parameters"],
    ),
    (
        HEAD + "- {name: a, match: {path: /a}, jitter: 91%}",
        ["x.yaml:3:40: routes[a].jitter: found 91%, expected at most 90%"],
    ),
    (
        HEAD + "- {name: a, match: {path: /a}, negative: {404: 1s, 400: 1s, 416: 1s}}",
        [
            (
                "x.yaml:3:57: routes[a].negative.400: found 400, which depends on more than the URL;"
                " expected a status such as 404 or 410"
            ),
            (
                "x.yaml:3:66: routes[a].negative.416: found 416, which depends on more than the URL;"
                " expected a status such as 404 or 410"
            ),
        ],
    ),
    (
        HEAD + "- {name: a, match: {path: /a}, respect_origin: false}",
        [
            (
                "x.yaml:3:48: routes[a].respect_origin: found false without a ttl,"
                " expected a ttl that wins over the origin's lifetimes"
            )
        ],
    ),
]

RIGHT = [
    HEAD + "- {name: a, match: {path: '/p/{id}'}}\n- {name: b, match: {path: /p/**}}",
    HEAD + "- {name: a, match: {host: a.example}}\n- {name: b, match: {host: b.example}}",
    HEAD + "- {name: a, match: {methods: [GET]}}\n- {name: b, match: {path: /p}}",
    HEAD + "- {name: a, match: {methods: [HEAD]}}\n- {name: b, match: {methods: [GET]}}",
    HEAD + "- {name: a, match: {path: '/**/*.css'}, cache: off}",
    HEAD + "- {name: a, match: {path: '/static/**/*.css'}}",
    HEAD + "- {name: a, match: {path: /a}, identity: shared, override: [private], cache: off}",
    HEAD + "- {name: a, match: {path: /a}, identity: {cookie: sid}, override: [private]}",
    HEAD + "- {name: a, match: {path: /a}, identity: shared, override: [no-store]}",
    HEAD + "- {name: a, match: {path: /a}, max_body: 1MiB}",
    HEAD + "- {name: a, match: {path: '/p/{id}'}, tags: ['p:{id}']}",
    HEAD + "- {name: a, match: {path: /a}, jitter: 90%}",
    HEAD + "- {name: a, match: {path: /a}, negative: {403: 1s, 404: 1s, 410: 1s, errors: {500: 1s}}}",
    HEAD + "- {name: a, match: {path: /a}, respect_origin: false, ttl: 1m}",
]


@pytest.mark.parametrize(("text", "faults"), FAULTY)
def test_route_that_cannot_work_or_is_unsafe_is_a_fault(text: str, faults: list[str]) -> None:
    assert faults_of(text) == faults


@pytest.mark.parametrize("text", RIGHT)
def test_route_that_comes_close_is_none(text: str) -> None:
    assert faults_of(text) == []


def test_inherited_fault_is_told_once_where_it_was_written() -> None:
    text = HEAD + "- {name: a, match: {path: /a}}\n- {name: b, match: {path: /b}}\ndefaults: {jitter: 95%}"

    assert faults_of(text) == ["x.yaml:5:20: defaults.jitter: found 95%, expected at most 90%"]


def test_hosts_are_compared_as_they_are_matched() -> None:
    text = (
        HEAD
        + "- {name: a, match: {path: /a, host: H.example.}}\n- {name: b, match: {path: /a, host: h.example}}"
    )

    assert faults_of(text) == [
        "x.yaml:4:13: routes[b].match: unreachable: the earlier route a (/a) takes all its requests"
    ]


def test_every_check_is_in_the_table_once() -> None:
    assert len(set(ROUTE_FAULTS)) == len(ROUTE_FAULTS) == 10
