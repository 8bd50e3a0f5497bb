"""Owns the checks of the drills: each of the table has a test and each test a line, each was seen failing, and the page says so."""

from __future__ import annotations

from tests.drills.catalogue import DRILLS, PAGE, drilled, table, with_table
from tests.drills.unprotected import STATEMENTS
from tests.drills.unprotected.sitecustomize import PROTECTIONS

IN_THE_DRILL = {"digests", "checksums", "synchronous standby"}  # taken away by the test itself, not in a process of the service


def test_every_drill_has_a_test_and_every_test_is_in_the_table() -> None:
    assert drilled().keys() == DRILLS.keys()


def test_every_protection_can_be_taken_away_and_what_was_seen_then_is_a_number() -> None:
    for name, drill in DRILLS.items():
        assert drill.removed in PROTECTIONS.keys() | STATEMENTS.keys() | IN_THE_DRILL, name
        assert any(letter.isdigit() for letter in drill.seen), name
    assert {drill.removed for drill in DRILLS.values()} == PROTECTIONS.keys() | STATEMENTS.keys() | IN_THE_DRILL


def test_the_page_has_the_table_as_it_is() -> None:
    text = PAGE.read_text()
    assert table() in text and text == with_table(text), "run python -m tests.drills.catalogue"
