"""Owns the checks of how the suite is divided: every folder of tests is run, once, and the closing line hides no failure."""

from __future__ import annotations

from tests import halves


def test_every_file_of_tests_is_in_one_of_the_halves_and_in_no_other() -> None:
    folders = [*halves.COMPUTING, *halves.others()]
    assert len(folders) == len(set(folders))
    found = sorted(path for folder in folders for path in (halves.TESTS.parent / folder).glob("**/test_*.py"))
    assert found == sorted(halves.TESTS.glob("**/test_*.py"))


def test_the_closing_line_adds_up_both_halves() -> None:
    lines = ("===== 2 failed, 10 passed, 1 warning in 3.00s =====\n", "===== 20 passed, 3 errors in 61.00s (0:01:01) =====\n")
    assert halves.closing(lines, 61.5) == "= 2 failed, 30 passed, 1 warning, 3 error in 61.50s, two halves ="
    assert halves.closing(("", "no tests ran"), 1) == "= no tests ran in 1.00s, two halves ="
