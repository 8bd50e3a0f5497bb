"""Owns the checks of retention classes: floors, versions, shortening by two people, what a part was stored under, high-risk agents."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auditlog import models
from auditlog.errors import Problem
from auditlog.ingest.auth import Keys
from auditlog.platform import first_run
from auditlog.retention import classes
from auditlog.store.connect import connect
from auditlog.store.writer import Project
from tests.db.retention.conftest import ANA, BOB, Case


def refused(code: str, work: Callable[[], object]) -> str:
    with pytest.raises(Problem) as problem:
        work()
    assert problem.value.code == code
    return problem.value.message


def sends_into(text: str) -> Project:
    """What ingest knows of the project of a key."""
    with connect("ingest", autocommit=True) as conn:
        return Keys(lambda: conn).check(text, "ingest").project


def test_the_presets_say_what_they_are_based_on(case: Case) -> None:
    presets = {one.class_no: one for one in classes.versions(case.conn) if one.class_no < 9_000}
    assert {number: (one.name, one.days, one.floor_days, one.version) for number, one in presets.items()} == {
        1: ("Seven years", 2557, 1, 1), 2: ("Six years", 2192, 1, 1), 3: ("Six months", 184, 184, 1), 4: ("90 days", 90, 1, 1),
    }  # fmt: skip
    assert "auditors" in presets[1].basis and "26(6)" in presets[3].basis and presets[4].basis == "No legal basis is claimed."


def test_lengthening_is_in_force_at_once_and_shortening_after_a_second_person(case: Case) -> None:
    longer = classes.revise(case.conn, ANA, case.class_no, 30)
    assert longer.version == 2 and classes.in_force(case.conn, case.class_no) == longer
    shorter = classes.revise(case.conn, ANA, case.class_no, 20)
    assert shorter.in_force_at is None and classes.in_force(case.conn, case.class_no) == longer
    refused("second_person", lambda: classes.approve(case.conn, ANA, case.class_no, 3))
    approved = classes.approve(case.conn, BOB, case.class_no, 3)
    assert approved.approved_by == {"kind": "person", "id": "2", "name": "bob"}
    assert classes.in_force(case.conn, case.class_no) == approved and approved.days == 20
    refused("state_conflict", lambda: classes.approve(case.conn, BOB, case.class_no, 3))
    assert [one.days for one in classes.versions(case.conn) if one.class_no == case.class_no] == [1, 30, 20]


def test_to_need_only_one_person_again_takes_two(case: Case) -> None:
    assert classes.revise(case.conn, ANA, case.class_no, 1, second_person=True).in_force_at is not None
    assert classes.revise(case.conn, ANA, case.class_no, 9, second_person=False).in_force_at is None


def test_a_shortening_that_was_overtaken_cannot_be_approved(case: Case) -> None:
    classes.revise(case.conn, ANA, case.class_no, 30)
    classes.revise(case.conn, ANA, case.class_no, 20)
    classes.revise(case.conn, ANA, case.class_no, 40)
    refused("state_conflict", lambda: classes.approve(case.conn, BOB, case.class_no, 3))
    assert classes.in_force(case.conn, case.class_no).days == 40


def test_nothing_goes_below_the_floor(case: Case) -> None:
    assert "183" in refused("below_floor", lambda: classes.revise(case.conn, ANA, 3, 183))
    refused("not_found", lambda: classes.revise(case.conn, ANA, 8_999, 10))
    assert classes.in_force(case.conn, 3).version == 1


def test_a_high_risk_agent_keeps_short_classes_away(case: Case) -> None:
    assert "184" in refused("high_risk", lambda: classes.flag(case.conn, ANA, case.id, "loans", True))  # the project has one of a day
    classes.choose(case.conn, ANA, case.id, 3)
    key, _ = models.ApiKey.issue(case.row, "k", ["ingest"])
    classes.choose(case.conn, ANA, case.id, 4, key.public_id)
    refused("high_risk", lambda: classes.flag(case.conn, ANA, case.id, "loans", True))
    classes.choose(case.conn, ANA, case.id, None, key.public_id)
    classes.flag(case.conn, ANA, case.id, "loans", True)
    refused("high_risk", lambda: classes.choose(case.conn, ANA, case.id, 4, key.public_id))
    refused("high_risk", lambda: classes.choose(case.conn, ANA, case.id, 4))
    classes.choose(case.conn, ANA, case.id, 2)
    refused("high_risk", lambda: classes.revise(case.conn, ANA, 2, 100))
    refused("second_person", lambda: classes.flag(case.conn, ANA, case.id, "loans", False))
    classes.flag(case.conn, BOB, case.id, "loans", True)  # it is: nothing changes, nor who said so
    refused("second_person", lambda: classes.flag(case.conn, ANA, case.id, "loans", False))
    classes.flag(case.conn, BOB, case.id, "loans", False)
    classes.choose(case.conn, ANA, case.id, 4)


def test_a_part_says_under_which_version_it_was_stored_and_a_key_may_have_a_class_of_its_own(case: Case) -> None:
    key, text = models.ApiKey.issue(case.row, "k", ["ingest"])
    assert sends_into(text)[2:] == (case.class_no, "day", 1, ())
    classes.revise(case.conn, ANA, case.class_no, 5)
    classes.revise(case.conn, ANA, case.class_no, 2)  # waits
    case.bench.project = sends_into(text)
    assert case.bench.project.class_version == 2
    number = case.talk("s-1").batch_no
    assert case.rows("SELECT class_version FROM part WHERE batch_no = %s", number) == [(2,)]
    classes.choose(case.conn, ANA, case.id, 4, key.public_id)
    assert sends_into(text)[2:] == (4, "day", 1, ())
    assert any(number >> 16 == 4 for number in first_run.open_buckets()) or case.rows("SELECT FROM bucket WHERE class_no = 4")


def test_every_decision_is_recorded_in_the_projects_that_it_concerns(case: Case) -> None:
    classes.revise(case.conn, ANA, case.class_no, 30)
    classes.choose(case.conn, ANA, case.id, 3)
    classes.flag(case.conn, BOB, case.id, "loans", True)
    for action in (b"class.revise", b"class.choose", b"agent.flag"):
        assert (
            len(case.rows("SELECT FROM event WHERE project_id = %s AND item = 4 AND position(%s::bytea IN vals) > 0", case.id, action)) == 1
        )
