"""Owns the checks of clocks that begin with an event: what waits for it, what goes once it was told, and that it can only lengthen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
import pytest

from auditlog.errors import Problem
from auditlog.item import STRING, Context, Span, Unreadable
from auditlog.retention import classes, clocks, dispositions, holds
from auditlog.retention.clocks import Told
from auditlog.verify import certificates
from tests.db.api.talks import talk
from tests.db.derived import NOW
from tests.db.retention.conftest import ANA, BOB, Case
from tests.db.retention.test_holds import Other


def refused(code: str, work: Callable[[], object]) -> Problem:
    with pytest.raises(Problem) as problem:
        work()
    assert problem.value.code == code
    return problem.value


def tell(case: Case, kind: str, value: str, days_ago: float | None = 5) -> Told:
    at = None if days_ago is None else NOW - timedelta(days=days_ago)
    told = clocks.tell(case.conn, ANA, case.id, kind, value, "account closed", at)
    case.derive()  # its record came before the disposition that it lets go, which asks for all that had come
    return told


@pytest.fixture
def by_customer(case: Case) -> Case:
    """The class of the case, one day after the event of its customers."""
    classes.revise(case.conn, ANA, case.class_no, 1, clock="customer")
    return case


def test_what_waits_for_its_event_stays_and_goes_once_it_is_told(by_customer: Case) -> None:
    case = by_customer
    for session in ("s-1", "s-2", "s-3"):
        case.talk(session)
    case.derive()
    tell(case, "customer", "customer-s-1")
    tell(case, "customer", "customer-s-2", days_ago=0.5)  # told, and its day is not over
    assert dispositions.report(case.conn, case.bucket)["waiting"] == {str(case.id): 2}
    certificate = case.dispose()
    assert case.sessions() == ["s-2", "s-3"] and case.faults() == []
    assert certificate["waiting"] == {str(case.id): 2} and certificate["holds"] == []
    assert certificate["policy"]["clock"] == "event" and certificate["policy"]["clock_of"] == "customer"
    assert (certificate["counts"]["disposed"], certificate["counts"]["held"]) == (3, 6)
    assert certificates.of_project(certificate, case.id)["waiting"] == 2
    tell(case, "customer", "customer-s-3")
    case.dispose()
    assert case.sessions() == ["s-2"]
    tell(case, "customer", "customer-s-2")
    certificate = case.dispose()
    assert case.sessions() == [] and certificate["method"] == "partition dropped" and case.faults() == []


def test_an_event_only_lengthens(case: Case) -> None:
    classes.revise(case.conn, ANA, case.class_no, 30, clock="customer")
    case.talk("s-1")
    case.derive()
    tell(case, "customer", "customer-s-1", days_ago=900)
    assert clocks.waiting(case.conn, case.bucket) == set()
    refused("not_due", case.propose)  # 30 days of receipt are not over, whatever was told


def test_where_everything_waits_nothing_goes_and_it_is_said(by_customer: Case) -> None:
    by_customer.talk("s-1")
    by_customer.derive()
    problem = refused("held", by_customer.dispose)
    assert problem.detail == {"holds": [], "waiting": 1} and by_customer.sessions() == ["s-1"]
    assert by_customer.rows("SELECT FROM pg_tables WHERE schemaname = 'draft'") == []  # what an erasure would not find


def test_of_several_customers_all_must_have_been_told_of(by_customer: Case) -> None:
    case = by_customer
    case.talk("s-1")
    extra = talk("s-1", 1)[0]
    assert isinstance(extra, Span)
    named = [*[one for one in extra.attributes if one[0] != "customer.id"], ("customer.id", STRING, "another")]
    case.send([msgspec.structs.replace(extra, attributes=named, span_id=b"\2" * 8)], days_ago=0)  # in another period even
    case.derive()
    tell(case, "customer", "customer-s-1")
    assert len(clocks.waiting(case.conn, case.bucket)) == 1
    tell(case, "session", "s-1")  # of the session itself: not what its class counts by, as long as it names customers
    assert len(clocks.waiting(case.conn, case.bucket)) == 1
    tell(case, "customer", "another")
    assert clocks.waiting(case.conn, case.bucket) == set()


def test_what_names_nobody_of_that_kind_waits_until_it_is_told_of_itself(case: Case) -> None:
    classes.revise(case.conn, ANA, case.class_no, 1, clock="patient")
    case.talk("s-1")
    lone = talk("s-2", 1)[0]
    assert isinstance(lone, Span)
    case.send([msgspec.structs.replace(lone, attributes=[])])
    case.derive()
    assert len(clocks.waiting(case.conn, case.bucket)) == 2
    tell(case, "session", "s-1")
    tell(case, "session", f"trace:{lone.trace_id.hex()}")
    assert clocks.waiting(case.conn, case.bucket) == set()


def test_the_event_of_a_session_starts_the_clock_of_that_session(case: Case) -> None:
    classes.revise(case.conn, ANA, case.class_no, 1, clock="session")
    case.talk("s-1")
    case.talk("s-2")
    case.derive()
    tell(case, "customer", "customer-s-2")  # nobody's but the session's counts
    tell(case, "session", "s-1")
    case.dispose()
    assert case.sessions() == ["s-2"]


def test_the_newest_that_was_told_counts(by_customer: Case) -> None:
    case = by_customer
    case.talk("s-1")
    case.derive()
    tell(case, "customer", "customer-s-1")
    tell(case, "customer", "customer-s-1", days_ago=None)  # opened again
    assert len(clocks.waiting(case.conn, case.bucket)) == 1
    tell(case, "customer", "customer-s-1", days_ago=2)
    assert clocks.waiting(case.conn, case.bucket) == set()
    assert [one.at is None for one in clocks.listed(case.conn, case.id)] == [False, True, False]


def test_what_was_told_in_another_project_starts_no_clock(by_customer: Case) -> None:
    case = by_customer
    case.talk("s-1")
    case.derive()
    clocks.tell(case.conn, ANA, case.id + 1, "customer", "customer-s-1", "account closed", NOW - timedelta(days=9))
    assert len(clocks.waiting(case.conn, case.bucket)) == 1


def test_what_could_not_be_read_waits_and_what_the_service_recorded_does_not(by_customer: Case) -> None:
    case = by_customer
    case.send([Unreadable(1, "protobuf", b"what is this", "item_undecodable", "no", context=Context())])
    case.talk("s-1")
    case.derive()
    tell(case, "customer", "customer-s-1")
    certificate = case.dispose()
    assert (certificate["counts"]["disposed"], certificate["counts"]["held"]) == (3, 1) and case.faults() == []


def test_whom_a_session_names_is_asked_only_when_all_that_had_come_is_read(by_customer: Case) -> None:
    case = by_customer
    case.talk("s-1")
    case.derive()
    tell(case, "customer", "customer-s-1")
    case.talk("s-2", days_ago=0)  # another period, not yet read: it could name another customer of the same session
    proposed = case.propose()
    refused("derive_behind", lambda: case.execute(proposed.id))
    assert case.sessions() == ["s-1"]
    case.derive()
    case.execute(proposed.id)
    assert case.sessions() == ["s-2"]


def test_what_is_held_stays_whatever_was_told(by_customer: Case) -> None:
    case = by_customer
    case.talk("s-1")
    case.talk("s-2")
    case.derive()
    hold = case.hold(session_id="s-1")
    for session in ("s-1", "s-2"):
        tell(case, "customer", f"customer-{session}")
    certificate = case.dispose()
    assert case.sessions() == ["s-1"] and [one["traces"] for one in certificate["holds"]] == [1] and certificate["waiting"] == {}
    holds.release(case.conn, BOB, case.id, hold.id, "over")
    case.derive()
    case.dispose()
    assert case.sessions() == []


@pytest.mark.parametrize("point", ["prepared", "locked"])
def test_a_clock_that_is_stopped_while_evidence_goes_stops_it_or_waits(by_customer: Case, point: str) -> None:
    case = by_customer
    case.talk("s-1", 1)
    case.talk("s-2", 1)
    case.derive()
    tell(case, "customer", "customer-s-1")
    tell(case, "customer", "customer-s-2")
    other = Other(lambda conn: clocks.tell(conn, ANA, case.id, "customer", "customer-s-1", "opened again", None))
    first: list[bool] = []

    def told(step: str) -> None:
        if step == point and not first:
            first.append(other.go_as_far_as_possible(case))

    case.execute(case.propose().id, told=told)
    other.join()
    assert first == [point == "prepared"] and other.problem == ""
    assert case.sessions() == (["s-1"] if point == "prepared" else []) and case.faults() == []


def test_a_revision_keeps_the_clock_and_giving_it_up_takes_two(case: Case) -> None:
    made = classes.revise(case.conn, ANA, case.class_no, 1, clock="customer")
    assert (made.clock, made.clock_of) == ("event", "customer") and made.in_force_at is not None  # it lengthens
    longer = classes.revise(case.conn, ANA, case.class_no, 9)
    assert (longer.clock, longer.clock_of) == ("event", "customer") and longer.in_force_at is not None
    for clock in ("receipt", "user"):
        waits = classes.revise(case.conn, ANA, case.class_no, 90, clock=clock)
        assert waits.in_force_at is None and classes.in_force(case.conn, case.class_no).clock_of == "customer"
    approved = classes.approve(case.conn, BOB, case.class_no, waits.version)
    assert approved.clock_of == "user"


def test_another_class_is_made_with_its_clock_and_recorded(case: Case) -> None:
    made = classes.make(case.conn, ANA, "Accounts", 400, "Contract", clock="customer", second_person=True)
    assert (made.class_no, made.version, made.days, made.clock_of, made.second_person) == (5, 1, 400, "customer", True)
    assert classes.make(case.conn, ANA, "Short", 14, "None").clock == "receipt" and classes.in_force(case.conn, 6).days == 14
    query = "SELECT count(*) FROM event WHERE project_id = %s AND item = 4 AND position(%s::bytea IN vals) > 0"
    assert case.rows(query, case.id, b"class.make") == [(2,)]
    for name, days, basis, clock in (("", 9, "x", "receipt"), ("x", 0, "x", "receipt"), ("x", 9, "", "receipt"), ("x", 9, "x", "agent")):
        refused("parameter_invalid", lambda n=name, d=days, b=basis, c=clock: classes.make(case.conn, ANA, n, d, b, clock=c))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "value", "event", "name"),
    [("Customer", "x", "y", "kind"), ("agent", "x", "y", "kind"), ("customer", " ", "y", "value"), ("customer", "x", "", "event"),
     ("customer", "a\0b", "y", "value"), ("customer", "x" * 1_001, "y", "value")],
)  # fmt: skip
def test_what_cannot_be_told_is_refused(case: Case, kind: str, value: str, event: str, name: str) -> None:
    problem = refused("parameter_invalid", lambda: clocks.tell(case.conn, ANA, case.id, kind, value, event, None))
    assert problem.detail["parameter"] == name and case.rows("SELECT FROM clock_event") == []


def test_what_was_told_is_recorded(case: Case) -> None:
    made = tell(case, "customer", "ACME")
    assert isinstance(made.at, datetime) and made.told_by == {"kind": "person", "id": "1", "name": "ana"}
    query = "SELECT count(*) FROM event WHERE project_id = %s AND item = 4 AND position(%s::bytea IN vals) > 0"
    assert case.rows(query, case.id, b"clock.tell") == [(1,)]
