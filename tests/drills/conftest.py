"""Owns how drills are run: all on one service, or each on a service from which its protection was taken, where it must fail.

pytest tests/drills                 what `make test` runs
pytest tests/drills --long          `make drill`: the drills that take long, too
pytest tests/drills --unprotected   each with its protection removed; passes where that is seen, and prints what was seen
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Final

import pytest

from tests.drills.catalogue import DRILLS
from tests.drills.invariants import Broken
from tests.drills.stand import Stand

_told: Final[dict[str, str]] = {}  # what the drills have to say, by name


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="drills that take long, too")
    parser.addoption("--unprotected", action="store_true", help="each drill with its protection removed: it must fail")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "drill(name, long=False): a drill of tests/drills/catalogue.py")


def unprotected(config: pytest.Config) -> bool:
    return bool(config.getoption("--unprotected", default=False))


def drill_of(item: pytest.Item) -> pytest.Mark | None:
    return item.get_closest_marker("drill")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    drills = [(item, mark) for item in items if (mark := drill_of(item)) is not None]
    if not config.getoption("--long", default=False):
        long = [item for item, mark in drills if mark.kwargs.get("long")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
    if unprotected(config):
        for item, _ in drills:
            item.add_marker(pytest.mark.xfail(raises=Broken, strict=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    mark = drill_of(item)
    if mark is not None and call.excinfo is not None and call.excinfo.errisinstance(Broken):
        _told[mark.args[0]] = str(call.excinfo.value)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for name, text in _told.items():
        terminalreporter.write_line(f"{name}: {text}")


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> Any:
    """A drill that was seen failing has done what it was run for."""
    if unprotected(config) and report.when == "call" and report.skipped and hasattr(report, "wasxfail"):
        return "seen failing", "x", "SEEN FAILING"
    return None


def scope(fixture_name: str, config: pytest.Config) -> Any:
    return "function" if unprotected(config) else "session"


@pytest.fixture(scope=scope)
def removed(request: pytest.FixtureRequest) -> str:
    """The protection that is taken away; "" where drills are run as they are meant."""
    return DRILLS[request.node.get_closest_marker("drill").args[0]].removed if unprotected(request.config) else ""


@pytest.fixture(scope=scope)
def stand(removed: str) -> Iterator[Stand]:
    """The service that drills are made on. Unprotected, one for each: what has no protection does not recover."""
    stand = Stand(removed)
    try:
        yield stand.start()
    finally:
        stand.service.remove()


@pytest.fixture
def own(removed: str) -> Iterator[Stand]:
    """A service for this drill alone, which does not live through it."""
    stand = Stand(removed)
    try:
        yield stand.start()
    finally:
        stand.service.remove()


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Any:
    """Says something at the end of the run."""
    name = next(request.node.iter_markers("drill")).args[0]
    return lambda text: _told.__setitem__(name, text)
