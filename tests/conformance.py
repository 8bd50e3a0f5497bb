"""Owns what a run of the tests has proven of OTLP: the marker `conformance`, over which transport each test sent, and the page of it.

    make conformance

A test that proves a case of tests/contract/cases.py bears its number: `@pytest.mark.conformance(64)`. What it was proven over is not
claimed but watched: the senders of the tests call `note`. A case is proven when every test of it has passed and it was seen over all
that it applies to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.contract.cases import CASES, Case

_sent: Final[set[tuple[str, str]]] = set()  # by the test that runs now


def note(transport: str, path: str) -> None:
    """What is being sent. transport: protobuf, JSON, gRPC, or HTTP for what is neither; path: of HTTP, or the method of gRPC."""
    low = path.lower()
    _sent.add((transport, "traces" if "trace" in low else "logs" if "logs" in low else ""))


class Ran(NamedTuple):
    file: str
    name: str
    passed: bool
    sent: frozenset[tuple[str, str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance-page", metavar="FILE", type=Path, help="write what this run has proven of OTLP; fails if not all of it")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "conformance(*numbers): proves these cases of tests/contract/cases.py")
    page = config.getoption("--conformance-page")
    if page is not None:
        config.pluginmanager.register(Recorder(page))


class Recorder:
    """Gathers the tests of each case while they run, and writes the page at the end."""

    def __init__(self, page: Path) -> None:
        self._page = page
        self._ran: dict[int, list[Ran]] = defaultdict(list)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        _sent.clear()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, Any]:
        report = yield
        if report.when == "call" or not report.passed:
            file, _, _ = item.location
            name = getattr(item, "originalname", item.name)
            for number in {number for mark in item.iter_markers("conformance") for number in mark.args}:
                self._ran[number].append(Ran(file, name, report.passed, frozenset(_sent)))
        return report

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self._ran:
            return  # nothing ran, so nothing is known
        self._page.write_text(page(self._ran))
        left = [case.number for case in CASES if not case.pending and judge(case, self._ran[case.number]) != "proven"]
        if left:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            session.config.get_terminal_writer().line(f"\nnot proven: {', '.join(map(str, left))}; see {self._page}", red=True)


def missing(case: Case, ran: list[Ran]) -> list[str]:
    """What the case applies to and no test has sent."""
    sent = {pair for one in ran for pair in one.sent}
    if not case.of:
        return [transport for transport in case.over if transport not in {transport for transport, _ in sent}]
    return [f"{transport} {signal}" for transport in case.over for signal in case.of if (transport, signal) not in sent]


def judge(case: Case, ran: list[Ran]) -> str:
    if case.pending:
        return f"not yet: {case.pending}"
    if not ran:
        return "not run"
    if not all(one.passed for one in ran):
        return "failed"
    left = missing(case, ran)
    return f"not over {', '.join(left)}" if left else "proven"


HEAD: Final = """\
# OTLP conformance: which requests were sent, and what was answered

Written by `make conformance` from a run of the tests, against the running receivers and a real PostgreSQL; the exporters are those of
OpenTelemetry for Python and JavaScript. "over" is what the tests were seen sending: protobuf and JSON of OTLP/HTTP, OTLP/gRPC, and HTTP for
what says neither. MUST and SHOULD are of the OTLP specification 1.11.0; where it leaves a choice, ours is in _italics_. What clients are
told: [ingest.md](ingest.md).
"""


def page(ran: dict[int, list[Ran]]) -> str:
    proven = sum(judge(case, ran[case.number]) == "proven" for case in CASES)
    head = [
        HEAD,
        f"{proven} of {len(CASES)} cases are proven.",
        "",
        "| | request | answer | over | result | tests |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(row(case, ran[case.number]) for case in CASES)]) + "\n"


def row(case: Case, ran: list[Ran]) -> str:
    tests = sorted({(one.file, one.name) for one in ran})
    links = "<br>".join(f"[{name.removeprefix('test_').replace('_', ' ')}](../../{file})" for file, name in tests)
    answer = f"{case.answer}. _{case.choice}_" if case.choice else case.answer
    result = judge(case, ran) + (f"; {case.but}" if case.but else "")
    return f"| {case.number} | {case.request} | {answer} | {over(case, ran)} | {result} | {links} |"


def over(case: Case, ran: list[Ran]) -> str:
    """Of what was seen, what the case is about: `protobuf, JSON (traces, logs)`."""
    sent = {pair for one in ran for pair in one.sent if pair[0] in case.over}
    transports = [transport for transport in case.over if any(pair[0] == transport for pair in sent)]
    signals = [signal for signal in case.of if any(pair[1] == signal for pair in sent)]
    return ", ".join(transports) + (f" ({', '.join(signals)})" if signals else "")
