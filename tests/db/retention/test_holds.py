"""Owns the checks of legal holds: what joins one, what several hold, and that none can be overtaken by a disposition or an erasure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from auditlog.errors import Problem
from auditlog.item import Context, Unreadable
from auditlog.retention import execute, holds, lock, recording
from auditlog.retention.erasure import erase_field
from auditlog.store import fields
from auditlog.store.connect import connect
from auditlog.store.projects import project_secrets
from tests.db.retention.conftest import ANA, BOB, Case


def held(case: Case) -> dict[str, set[int]]:
    """Session to the holds that hold something of it in the past bucket."""
    found = holds.held(case.conn, case.bucket)
    names = {
        key: bytes(name).decode()
        for key, name in case.rows(
            "SELECT t.trace_key, s.session_id FROM trace t JOIN session s ON s.key = t.session_key WHERE t.project_id = %s", case.id
        )
    }
    return {names.get(key, "?"): set(ids) for (_, key), ids in found.items()}


def refused(code: str, work: Callable[[], object]) -> Problem:
    with pytest.raises(Problem) as problem:
        work()
    assert problem.value.code == code
    return problem.value


def test_what_matches_later_joins_and_each_hold_counts(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    by_customer, by_words = case.hold(customer_id="customer-s-2"), case.hold(q='"zebrafinch s-1"')
    assert held(case) == {"s-1": {by_words.id}} and holds.count(by_customer) == 0
    case.talk("s-2")
    case.derive()
    agent = case.hold(tool="look_up")
    assert held(case) == {"s-1": {by_words.id, agent.id}, "s-2": {by_customer.id, agent.id}}
    holds.release(case.conn, BOB, case.id, agent.id, "over")
    assert held(case) == {"s-1": {by_words.id}, "s-2": {by_customer.id}}
    refused("state_conflict", lambda: holds.release(case.conn, BOB, case.id, agent.id, "again"))


def test_everything_of_a_matching_session_is_held_in_every_bucket(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    case.hold(response_id="s-1-3")  # a call that comes only later
    assert held(case) == {}
    case.talk("s-1", 4, days_ago=0)
    case.derive()
    assert set(held(case)) == {"s-1"}


@pytest.mark.parametrize(
    ("code", "scope"),
    [
        ("scope_empty", {}),
        ("parameter_invalid", {"customer": "x"}),
        ("parameter_invalid", {"customer_id": ""}),
        ("parameter_invalid", {"from": "yesterday"}),
        ("parameter_invalid", {"customer_id": 7}),
        ("parameter_invalid", {"limit": "10"}),
        ("parameter_invalid", {"session_id": "a\0b"}),
    ],
)
def test_a_scope_that_says_nothing_or_cannot_be_read_is_refused(case: Case, code: str, scope: dict[str, Any]) -> None:
    refused(code, lambda: holds.place(case.conn, ANA, case.id, "x", "y", scope))
    assert case.rows("SELECT FROM hold") == []


def test_a_hold_has_a_reason_and_so_has_its_release(case: Case) -> None:
    refused("parameter_invalid", lambda: holds.place(case.conn, ANA, case.id, "x", " ", {"agent": "a"}))
    made = case.hold(agent="a")
    refused("parameter_invalid", lambda: holds.release(case.conn, ANA, case.id, made.id, ""))
    refused("not_found", lambda: holds.release(case.conn, ANA, case.id + 1, made.id, "of another project"))
    assert [one.id for one in holds.standing(case.conn)] == [made.id]


def test_what_cannot_be_searched_is_held_rather_than_lost(case: Case) -> None:
    case.talk("s-cut")
    case.talk("s-whole")
    case.send([Unreadable(1, "protobuf", b"what is this", "item_undecodable", "no", context=Context())])
    case.derive()
    case.conn.execute("UPDATE session SET cut = 'everything after it' WHERE session_id = 's-cut'")
    by_tool = case.hold(tool="no such tool")
    assert held(case) == {"s-cut": {by_tool.id}, "?": {by_tool.id}}
    holds.release(case.conn, ANA, case.id, by_tool.id, "over")
    by_session = case.hold(session_id="nobody")  # known without a timeline
    assert held(case) == {"?": {by_session.id}}
    holds.release(case.conn, ANA, case.id, by_session.id, "over")
    case.conn.execute("UPDATE project SET text_index = false WHERE id = %s", (case.id,))
    by_words = case.hold(q="nobody said this at all")
    assert held(case) == {name: {by_words.id} for name in ("s-cut", "s-whole", "?")}


def test_words_that_are_not_indexed_yet_are_waited_for(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    proposed = case.propose()
    case.hold(q='"zebrafinch s-1"')
    case.conn.execute("UPDATE session SET text_due = now()")
    refused("derive_behind", lambda: case.execute(proposed.id))
    case.derive()
    refused("held", lambda: case.execute(proposed.id))


def waiting(case: Case) -> bool:
    return bool(case.rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted", lock.LOCK))


class Other(threading.Thread):
    """Somebody else, with connections of their own."""

    def __init__(self, work: Callable[[Any], object]) -> None:
        super().__init__()
        self.work, self.problem = work, ""

    def run(self) -> None:
        try:
            with connect("owner", autocommit=True) as conn:
                self.work(conn)
        except Problem as problem:
            self.problem = problem.code
        finally:
            connection.close()

    def go_as_far_as_possible(self, case: Case) -> bool:
        """Starts; True: it has ended; False: it waits for the lock."""
        self.start()
        until = time.monotonic() + 20
        while self.is_alive() and not waiting(case):
            assert time.monotonic() < until
            time.sleep(0.005)
        return not waiting(case)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], None]]]:
    """What is to be done while a hold is being placed: its row is written and not committed."""
    steps: list[Callable[[], None]] = []
    record = recording.record

    def recorded(*args: Any, **how: Any) -> None:
        record(*args, **how)
        if args[3] == "hold.place":
            for step in steps:
                step()

    monkeypatch.setattr(recording, "record", recorded)
    yield steps


@pytest.mark.parametrize("point", ["closed", "prepared", "locked", "checked", "swapped", "recorded", "forgotten"])
def test_a_hold_placed_at_any_point_of_a_disposition_holds_or_waits(case: Case, point: str) -> None:
    case.talk("s-1", 1)
    case.talk("s-2", 1)
    case.derive()
    proposed = case.propose()
    other = Other(lambda conn: holds.place(conn, ANA, case.id, "Case 7", "Subpoena", {"session_id": "s-1"}))
    first: list[bool] = []

    def told(step: str) -> None:
        if step == point and not first:
            first.append(other.go_as_far_as_possible(case))

    certificate = case.execute(proposed.id, told=told)
    other.join()
    before = point in ("closed", "prepared")  # nobody has the lock yet: it is placed, and what it holds stays
    assert first == [before or point in ("recorded", "forgotten")] and other.problem == ""
    assert len(holds.standing(case.conn)) == 1
    assert bool(case.events("s-1")) == before and case.sessions() == (["s-1"] if before else []) and case.events("s-2") == []
    assert len(certificate["holds"]) == before and case.faults() == []


def test_a_disposition_that_comes_while_a_hold_is_placed_waits_and_keeps(case: Case, stopped: list[Callable[[], None]]) -> None:
    case.talk("s-1", 1)
    case.talk("s-2", 1)
    case.derive()
    proposed = case.propose()
    other = Other(lambda conn: execute.execute(conn, BOB, proposed.id, project_secrets(conn)))
    first: list[bool] = []
    stopped.append(lambda: first.append(other.go_as_far_as_possible(case)))
    case.hold(session_id="s-1")
    other.join()
    assert first == [False] and other.problem == "" and case.sessions() == ["s-1"]


@pytest.mark.parametrize("point", ["prepared", "locked"])
def test_a_hold_released_before_the_lock_lets_go_and_after_it_waits(case: Case, point: str) -> None:
    case.talk("s-1", 1)
    case.talk("s-2", 1)
    case.derive()
    hold = case.hold(session_id="s-1")
    other = Other(lambda conn: holds.release(conn, BOB, case.id, hold.id, "over"))
    first: list[bool] = []

    def told(step: str) -> None:
        if step == point and not first:
            first.append(other.go_as_far_as_possible(case))

    case.execute(case.propose().id, told=told)
    other.join()
    assert first == [point == "prepared"] and case.sessions() == ([] if point == "prepared" else ["s-1"]) and case.faults() == []


def erased(case: Case, conn: Any, public: str) -> None:
    with conn.transaction():
        erase_field(conn, case.id, case.bench.project.secret, public, fields.INPUT)


def inputs(case: Case) -> list[str]:
    return [str(one.item) for one in case.events("s-1") if "gen_ai.input.messages" in str(one.item)]


def test_what_is_held_is_not_erased(case: Case) -> None:
    case.talk("s-1", 1)
    case.derive()
    before, public = inputs(case), case.events("s-1")[0].id
    hold = case.hold(customer_id="customer-s-1")
    problem = refused("held", lambda: erased(case, case.conn, public))
    assert problem.detail == {"holds": [hold.id]} and inputs(case) == before
    holds.release(case.conn, BOB, case.id, hold.id, "over")
    erased(case, case.conn, public)
    assert inputs(case) != before


def test_nothing_is_erased_before_the_pass_can_say_whether_it_is_held(case: Case) -> None:
    case.talk("s-1", 1)
    public = case.events("s-1")[0].id
    hold = case.hold(session_id="nobody")
    refused("derive_behind", lambda: erased(case, case.conn, public))
    holds.release(case.conn, BOB, case.id, hold.id, "over")
    erased(case, case.conn, public)  # nothing can be held


def test_an_erasure_that_comes_while_a_hold_is_placed_waits_and_is_refused(case: Case, stopped: list[Callable[[], None]]) -> None:
    case.talk("s-1", 1)
    case.derive()
    before, public = inputs(case), case.events("s-1")[0].id
    other = Other(lambda conn: erased(case, conn, public))
    first: list[bool] = []
    stopped.append(lambda: first.append(other.go_as_far_as_possible(case)))
    case.hold(session_id="s-1")
    other.join()
    assert first == [False] and other.problem == "held" and inputs(case) == before


def test_a_hold_that_comes_while_something_is_erased_waits(case: Case) -> None:
    case.talk("s-1", 1)
    case.derive()
    public = case.events("s-1")[0].id
    other = Other(lambda conn: holds.place(conn, ANA, case.id, "Case 7", "Subpoena", {"session_id": "s-1"}))
    with case.conn.transaction():
        erase_field(case.conn, case.id, case.bench.project.secret, public, fields.INPUT)
        assert not other.go_as_far_as_possible(case)
    other.join()
    assert other.problem == "" and len(holds.standing(case.conn)) == 1
