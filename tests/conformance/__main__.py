"""The public cache test suite against the sidecar, in both profiles and all stores: `make conformance`.

CACHE_TESTS names a checkout of the suite; else the release is installed. Exit 1: a case fell short that
docs/http-support.md does not list, or a listed one passed. Exit 2: the suite cannot be run here.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conformance.listing import known_cases
from tests.conformance.outcomes import Outcome, Run, Verdict, run_of, verdict
from tests.conformance.scoreboard import peers, scoreboard
from tests.conformance.suite import Suite, SuiteUnavailable, find
from tests.support.sidecar import ROOT, running, running_sidecar, served

DOCUMENT = ROOT / "docs" / "http-support.md"
FOLDER = ROOT / ".conformance"
PROFILES = ("rfc9111", "safe")
STORES = {
    "L1": None,
    "L1 and L2": "l2: {url: embedded, timeout: 2s}",
    "L2 alone": "l2: {url: embedded, timeout: 2s}\nl1: {max_bytes: 1KiB, max_entry_bytes: 1KiB}",
}
"""Store -> its configuration; None: what `serve --origin` gives. The last L1 is too small for any entry.

What is judged is the answers, not the machine's speed: hence a patient deadline for L2.
"""


def main() -> int:
    """All runs; the exit code."""
    try:
        suite = find(os.environ.get("CACHE_TESTS"), into=FOLDER)
        verdicts = [_judged(suite, profile, store) for profile in PROFILES for store in STORES]
    except SuiteUnavailable as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    good = sum(judged.is_good for judged in verdicts)
    # In the words of test runners, so that CI reads it.
    print(f"\n{good} passed, {len(verdicts) - good} failed")
    return 0 if good == len(verdicts) else 1


def _judged(suite: Suite, profile: str, store: str) -> Verdict:
    began_at = time.monotonic()
    with suite.serving() as origin, _sidecar(origin, profile, store) as url:
        run = run_of(suite.cases(), suite.run(url))
    judged = verdict(run, known_cases(DOCUMENT), suite=suite.name, profile=profile)
    title = f"profile {profile}, {store}, suite {suite.name}, {time.monotonic() - began_at:.0f} s"
    for line in scoreboard(title, run, judged):
        print(line, flush=True)
    if (profile, store) == ("rfc9111", "L1"):
        print("\n".join(peers(_passed(run, "required"), _passed(run, "optimal"))), flush=True)
    return judged


def _passed(run: Run, kind: str) -> int:
    return run.of_kind(kind)[Outcome.PASSED]


@contextmanager
def _sidecar(origin: str, profile: str, store: str) -> Iterator[str]:
    policies = STORES[store]
    if policies is None:
        flags = ("--listen", "127.0.0.1:0", "--ops", "off", "--admin", "off", "--profile", profile)
        with running(served("--origin", origin, *flags)) as sidecar:
            yield f"http://{sidecar.data}"
    else:
        with TemporaryDirectory() as folder:
            written = f"profile: {profile}\n{policies}\n"
            with running_sidecar(Path(folder), origin, written) as sidecar:
                yield f"http://{sidecar.data}"


if __name__ == "__main__":
    sys.exit(main())
