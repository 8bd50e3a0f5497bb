"""Owns the checks of previews: what a change would make due, counted as it would be, and that nothing is changed by asking."""

from __future__ import annotations

from datetime import timedelta

import pytest

from auditlog.errors import Problem
from auditlog.retention import classes, clocks, preview
from tests.db.derived import NOW
from tests.db.retention.conftest import ANA, BOB, Case


def everything(case: Case) -> list[list[tuple[object, ...]]]:
    tables = ("retention_class", "bucket", "disposition", "retention_rules", "clock_event", "batch", "trace", "session")
    return [case.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def test_a_shortening_says_what_would_be_due_at_once_and_changes_nothing(case: Case) -> None:
    classes.revise(case.conn, ANA, case.class_no, 30)
    case.talk("s-1", days_ago=4)
    case.talk("s-1", 3, days_ago=9)  # the same session in two periods, with three events that are in both
    case.talk("s-2", days_ago=9)
    case.talk("s-now", days_ago=0)
    case.derive()
    before = everything(case)
    found = preview.preview(case.conn, case.class_no, 2, project_id=case.id)
    assert everything(case) == before
    assert (found.waits, found.becomes, found.becomes_events, found.becomes_sessions, found.postponed) == (True, 2, 11, 2, 0)
    mine = [one for one in found.periods if one.events]
    assert [(one.was_due, one.would_be, one.events, one.sessions) for one in mine] == [
        (False, True, 8, 2), (False, True, 3, 1), (False, False, 4, 1),  # today with what was recorded of the revision
    ]  # fmt: skip
    assert [(one.then - one.ends).days for one in mine] == [2, 2, 2] and (mine[0].before - mine[0].ends).days == 30
    classes.revise(case.conn, ANA, case.class_no, 2)
    classes.approve(case.conn, BOB, case.class_no, 3)
    now = preview.preview(case.conn, case.class_no, 2, project_id=case.id)
    assert [one.was_due for one in now.periods if one.events] == [one.would_be for one in mine]  # it came as it was foreseen


def test_a_lengthening_says_what_would_not_be_due_any_more(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    found = preview.preview(case.conn, case.class_no, 400)
    assert (found.waits, found.becomes, found.postponed, found.postponed_events, found.postponed_sessions) == (False, 0, 1, 3, 1)


def test_another_projects_evidence_is_not_counted_and_all_of_it_is_without_a_project(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    assert [one.events for one in preview.preview(case.conn, case.class_no, 2, project_id=case.id + 1).periods if one.events] == []
    assert sum(one.events for one in preview.preview(case.conn, case.class_no, 2).periods) == 3


def test_what_was_disposed_of_is_not_counted_again(case: Case) -> None:
    case.talk("s-1")
    case.talk("s-2")
    case.derive()
    case.hold(session_id="s-1")
    case.dispose()
    found = preview.preview(case.conn, case.class_no, 400, project_id=case.id)
    assert (found.postponed_events, found.postponed_sessions) == (3, 1)


def test_a_clock_says_how_much_would_wait_for_its_event(case: Case) -> None:
    case.talk("s-1")
    case.talk("s-2")
    case.derive()
    clocks.tell(case.conn, ANA, case.id, "customer", "customer-s-1", "account closed", NOW - timedelta(days=3))
    found = preview.preview(case.conn, case.class_no, 1, "customer", project_id=case.id)
    assert [one.waiting for one in found.periods if one.would_be] == [1] and not found.waits
    assert preview.preview(case.conn, case.class_no, 1, project_id=case.id).periods[0].waiting is None


@pytest.mark.parametrize(
    ("class_no", "days", "clock", "code"),
    [
        ("3", "183", None, "below_floor"), ("8888", "9", None, "not_found"), ("x", "9", None, "not_found"),
        ("99999", "9", None, "not_found"), ("1", "0", None, "parameter_invalid"), ("1", "999999", None, "parameter_invalid"),
        ("1", "-1", None, "parameter_invalid"), ("1", "9", "A B", "parameter_invalid"), ("1", "٣", None, "parameter_invalid"),
    ],
)  # fmt: skip
def test_what_the_change_would_be_refused_for_is_said_before(case: Case, class_no: str, days: str, clock: str | None, code: str) -> None:
    with pytest.raises(Problem) as problem:
        preview.asked(case.conn, class_no, days, clock, case.id)
    assert problem.value.code == code
