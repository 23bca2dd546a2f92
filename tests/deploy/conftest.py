from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import IMAGE, Engine
from tests.support.helm import built_charts
from tests.support.tools import NOT_PROVED


@pytest.fixture(scope="session")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The charts' folder, the library built into the application chart."""
    return built_charts(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def chart(charts: Path) -> Path:
    """The application chart."""
    return charts / "sidecache"


@pytest.fixture(scope="session")
def image() -> Iterator[Engine]:
    """Where the image is, built from the Dockerfile as it is."""
    engine = Engine(Path(tempfile.mkdtemp(prefix="sidecache-")))
    try:
        engine.need_base()
        engine.build(IMAGE)
        yield engine
    finally:
        engine.close()


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Says at the very end, in so many words, what this machine could not prove."""
    yield
    reasons = {str(report.longrepr[2]) for report in terminalreporter.getreports("skipped")}
    unproved = sorted(reason.partition(NOT_PROVED)[2] for reason in reasons if NOT_PROVED in reason)
    if unproved:
        terminalreporter.section("THIS RUN DID NOT PROVE EVERYTHING", sep="!", red=True)
        for reason in unproved:
            terminalreporter.line(f"  {reason}")
