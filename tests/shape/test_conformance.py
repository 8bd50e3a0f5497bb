"""Owns the checks of the conformance cases: each has a number, a test that bears it and a line on the committed page, and no other has."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

from tests.conformance import row
from tests.contract.cases import CASES

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/otlp-conformance.md"
NOT_YET: set[int] = set()  # what waits for something to be built; every other case is tested


def lines() -> dict[int, str]:
    """The lines of the page by number."""
    return {int(found[1]): line for line in PAGE.read_text().splitlines() if (found := re.match(r"\| (\d+) \|", line))}


def is_mark(node: ast.AST) -> bool:
    """`pytest.mark.conformance(...)`, or by the name under which the tests have it."""
    called = node.func if isinstance(node, ast.Call) else None
    return (isinstance(called, ast.Attribute) and called.attr == "conformance") or (isinstance(called, ast.Name) and called.id == "proves")


def marks() -> tuple[set[int], dict[int, set[str]]]:
    """Every number that a test bears; and by number the tests whose every run bears it."""
    found: set[int] = set()
    always: dict[int, set[str]] = defaultdict(set)
    for path in (ROOT / "tests").rglob("test_*.py"):
        if path == Path(__file__).resolve() or "node_modules" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if is_mark(node):
                assert isinstance(node, ast.Call)
                found |= {ast.literal_eval(argument) for argument in node.args}  # only numbers that stand there can be checked here
            if isinstance(node, ast.FunctionDef):
                for mark in filter(is_mark, node.decorator_list):
                    for argument in mark.args:  # type: ignore[attr-defined]
                        always[ast.literal_eval(argument)].add(f"{path.relative_to(ROOT)}::{node.name}")
    return found, always


def test_the_cases_are_numbered_from_1_to_95() -> None:
    assert [case.number for case in CASES] == list(range(1, 96))


def test_every_case_has_a_test_that_bears_its_number_and_no_test_bears_another() -> None:
    found, _ = marks()
    assert found == {case.number for case in CASES} - NOT_YET
    assert {case.number for case in CASES if case.pending} == NOT_YET


def test_the_page_lists_the_catalogue_line_by_line_and_every_case_as_proven() -> None:
    assert list(lines()) == [case.number for case in CASES]
    for case in CASES:
        cells, expected = (told.split(" | ") for told in (lines()[case.number], row(case, [])))
        assert cells[:3] == expected[:3], "run `make conformance`"
        assert cells[4].startswith(f"not yet: {case.pending}" if case.pending else "proven"), case
    assert f"{len(CASES) - len(NOT_YET)} of {len(CASES)} cases are proven." in PAGE.read_text()


def test_the_page_names_the_tests_that_there_are() -> None:
    _, always = marks()
    for number, line in lines().items():
        named = {f"{file}::test_{name.replace(' ', '_')}" for name, file in re.findall(r"\[([^\]]+)\]\(../../(\S+?)\)", line)}
        assert bool(named) == (number not in NOT_YET)
        assert always[number] <= named, "run `make conformance`"
        for test in named:
            file, _, name = test.partition("::")
            assert f"def {name}(" in (ROOT / file).read_text(), f"{test} is not there: run `make conformance`"
