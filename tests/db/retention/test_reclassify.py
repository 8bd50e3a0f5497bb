"""Owns the checks of what is kept as a longer class says: what stays and for how long, that it only lengthens, and that it is no hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from auditlog.errors import Problem
from auditlog.governance import Actor
from auditlog.item import STRING, Context, Span, Unreadable
from auditlog.retention import classes, clocks, dispositions, execute, preview, reclassify
from auditlog.retention.reclassify import Reclassified
from auditlog.store import partitions
from auditlog.store.connect import connect
from auditlog.verify import certificates
from tests.db.api.talks import talk
from tests.db.derived import NOW
from tests.db.retention.conftest import ANA, BOB, MARKER, Case
from tests.db.retention.test_erasures import carry_out, decided
from tests.db.retention.test_holds import Other


def refused(code: str, work: Callable[[], object]) -> Problem:
    with pytest.raises(Problem) as problem:
        work()
    assert problem.value.code == code
    return problem.value


def a_class(case: Case, days: int = 30, **how: Any) -> int:
    return classes.make(case.conn, ANA, f"{days} days", days, "Contract", **how).class_no


def keep(case: Case, class_no: int, **scope: str) -> Reclassified:
    made = reclassify.make(case.conn, ANA, case.id, class_no, "Contract, section 9", scope)
    case.derive()  # its record
    return made


def shorten(case: Case, class_no: int, days: int) -> None:
    made = classes.revise(case.conn, ANA, class_no, days)
    classes.approve(case.conn, BOB, class_no, made.version)


def test_what_matches_stays_with_its_proofs_until_the_longer_class_is_over_too(case: Case) -> None:
    for session in ("s-1", "s-2", "s-3"):
        case.talk(session)
    case.derive()
    longer = a_class(case)
    made = keep(case, longer, customer_id="customer-s-2")
    listed = [{"project": case.id, "reclassification": made.id, "class": longer, "version": 1, "days": 30, "traces": 1}]
    report = dispositions.report(case.conn, case.bucket)
    assert report["longer"] == listed and report["waiting"] == {} and report["holds"] == []
    before = case.events("s-2")
    certificate = case.dispose()
    assert case.sessions() == ["s-2"] and case.faults() == [] and case.events("s-2") == before
    assert certificate["longer"] == listed and certificate["waiting"] == {} and certificate["holds"] == []
    assert certificates.of_project(certificate, case.id)["longer"] == listed
    assert certificates.of_project(certificate | {"by_project": {"77": 0}}, 77)["longer"] == []
    assert (certificate["counts"]["disposed"], certificate["counts"]["held"]) == (6, 3)
    again = case.propose()
    assert refused("held", lambda: case.execute(again.id)).detail == {"holds": [], "waiting": 1}
    shorten(case, longer, 2)
    assert dispositions.report(case.conn, case.bucket)["longer"] == []
    case.execute(again.id)
    assert case.sessions() == [] and case.faults() == []


def test_what_comes_later_and_matches_stays_and_what_cannot_be_searched_too(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    keep(case, a_class(case), customer_id="customer-s-2")
    case.talk("s-2")
    case.send([Unreadable(1, "protobuf", b"what is this", "item_undecodable", "no", context=Context())])
    case.derive()
    certificate = case.dispose()
    assert case.sessions() == ["s-2"] and certificate["counts"]["held"] == 4 and case.faults() == []


def test_it_only_lengthens(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    case.version(2, 3)
    keep(case, a_class(case, 2), customer_id="customer-s-1")
    keep(case, a_class(case, 3), customer_id="customer-s-1")
    assert reclassify.asking(case.conn, case.bucket) == []
    case.version(3, 60)
    keep(case, a_class(case, 30), customer_id="customer-s-1")
    assert reclassify.asking(case.conn, case.bucket) == []
    refused("not_due", case.propose)


def unnamed(session: str, trace: bytes) -> Span:
    """A span of a session that names nobody else."""
    span = talk(session, 1)[0]
    assert isinstance(span, Span)
    return msgspec.structs.replace(span, trace_id=trace * 16, attributes=[one for one in span.attributes if "customer" not in one[0]])


def test_what_named_it_may_go_first_and_the_rest_stays(case: Case) -> None:
    earlier = partitions.bucket_at(case.class_no, "day", NOW - timedelta(days=5)).number
    case.talk("s-1", days_ago=5)
    case.send([unnamed("s-1", b"\7")])
    case.talk("s-2")
    case.derive()
    keep(case, a_class(case, 4), customer_id="customer-s-1")  # over for the day before, not for this one
    assert [each["traces"] for each in dispositions.report(case.conn, case.bucket)["longer"]] == [1]
    first = dispositions.propose(case.conn, ANA, earlier)
    case.derive()
    assert case.execute(first.id)["longer"] == []
    case.derive()
    certificate = case.dispose()
    assert case.sessions() == ["s-1"] and [each["traces"] for each in certificate["longer"]] == [1]


def test_what_named_it_may_be_erased_and_the_rest_stays(case: Case) -> None:
    case.talk("s-1", 1)
    case.talk("s-2", 1)
    (named,) = case.events("s-1")
    assert isinstance(named.item, Span)
    case.send([msgspec.structs.replace(unnamed("s-1", b"\7"), trace_id=named.item.trace_id, span_id=b"\7" * 8)])
    case.derive()
    keep(case, a_class(case), customer_id="customer-s-1")
    carry_out(case, decided(case, "erase", events=[named.id]))
    case.derive()
    case.dispose()
    assert len(case.events("s-1")) == 2 and case.events("s-2") == []


@pytest.mark.parametrize("by", ["reclassification", "flag", "hold"])
def test_what_was_not_read_when_it_was_proposed_may_name_what_is_asked_for(case: Case, by: str) -> None:
    case.send([unnamed("s-1", b"\7")])
    case.derive()
    if by == "flag":
        classes.choose(case.conn, ANA, case.id, 1)
        classes.flag(case.conn, ANA, case.id, "loans", True)
    elif by == "hold":
        case.hold(customer_id="customer-s-1")
    else:
        keep(case, a_class(case), customer_id="customer-s-1")
    case.derive()
    root = unnamed("s-1", b"\7")
    names = [("gen_ai.agent.name", STRING, "loans"), ("customer.id", STRING, "customer-s-1")]
    case.send([msgspec.structs.replace(root, span_id=b"\6" * 8, attributes=[*root.attributes, *names])], days_ago=0)
    proposed = case.propose()
    refused("derive_behind", lambda: case.execute(proposed.id))
    case.derive()
    refused("held", lambda: case.execute(proposed.id))


def test_what_asks_nothing_of_a_period_stops_it_for_nothing(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    reclassify.make(case.conn, ANA, case.id + 1, a_class(case, clock="customer"), "Contract", {"customer_id": "x"})
    keep(case, a_class(case, 2), tool="look_up")  # over already
    proposed = case.propose()
    case.talk("s-2", days_ago=0)  # not read
    case.execute(proposed.id)
    assert case.sessions() == []


def test_an_identifier_that_is_too_long_for_words_is_kept_as_it_can_be_when_nothing_has_it_any_more(case: Case) -> None:
    long = "customer-" + "x" * 1_200
    named = unnamed("s-1", b"\7")
    case.send([msgspec.structs.replace(named, attributes=[*named.attributes, ("customer.id", STRING, long)])])
    case.talk("s-2", days_ago=0)
    case.derive()
    keep(case, a_class(case, 30), q=long)
    assert [each["traces"] for each in dispositions.report(case.conn, case.bucket)["longer"]] == [1]
    carry_out(case, decided(case, "erase", session_id="s-1"))
    case.derive()
    (told,) = dispositions.report(case.conn, case.bucket)["longer"]
    assert told["traces"] == 1  # nobody can say any more


def test_a_change_of_the_class_is_told_beforehand_and_recorded_where_something_is_kept_as_it_says(case: Case) -> None:
    longer = a_class(case)
    keep(case, longer, customer_id="customer-s-1")
    assert [preview.preview(case.conn, longer, 2, None, project).longer for project in (None, case.id, case.id + 1)] == [1, 1, 0]
    shorten(case, longer, 2)
    query = "SELECT count(*) FROM event WHERE project_id = %s AND item = 4 AND position(%s::bytea IN vals) > 0"
    assert [case.rows(query, case.id, said) for said in (b"class.revise", b"class.approve")] == [[(1,)]] * 2


def test_of_several_each_counts_and_the_project_of_another_has_none(case: Case) -> None:
    for session in ("s-1", "s-2"):
        case.talk(session)
    case.derive()
    short, long = a_class(case, 2), a_class(case, 30)
    keep(case, short, customer_id="customer-s-1")  # over already
    keep(case, long, tool="look_up")
    reclassify.make(case.conn, ANA, case.id + 1, long, "Contract", {"customer_id": "customer-s-1"})
    case.derive()
    found = {(each.project_id, each.days): len(places) for each, places in reclassify.longer(case.conn, case.bucket)}
    assert found == {(case.id, 30): 2, (case.id + 1, 30): 0}


def test_a_longer_class_that_waits_for_an_event_lets_nothing_go_before_it(case: Case) -> None:
    for session in ("s-1", "s-2"):
        case.talk(session)
    case.derive()
    keep(case, a_class(case, 2, clock="customer"), tool="look_up")
    clocks.tell(case.conn, ANA, case.id, "customer", "customer-s-1", "account closed", NOW - timedelta(days=5))
    certificate = case.dispose()
    assert case.sessions() == ["s-2"] and [one["traces"] for one in certificate["longer"]] == [1]


def test_what_a_flagged_agent_did_stays_for_as_long_as_the_law_asks_though_it_was_received_in_a_shorter_class(case: Case) -> None:
    items = talk("s-1", 1)
    for one in items:
        assert isinstance(one, Span)
        one.attributes = [*one.attributes, ("gen_ai.agent.name", STRING, "loans")]
    case.send(items)
    case.talk("s-2")
    case.derive()
    classes.choose(case.conn, ANA, case.id, 1)
    classes.flag(case.conn, ANA, case.id, "loans", True)
    case.derive()
    certificate = case.dispose()
    assert case.sessions() == ["s-1"]
    assert certificate["longer"] == [{"project": case.id, "agent": "loans", "days": 184, "traces": 1}]
    classes.flag(case.conn, BOB, case.id, "loans", False)
    case.derive()
    case.dispose()
    assert case.sessions() == []


def test_it_is_given_up_by_somebody_else_and_once(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    made = keep(case, a_class(case), customer_id="customer-s-1")
    key = Actor("key", "9", "admin")
    for actor in (ANA, key):
        refused("second_person", lambda actor=actor: reclassify.end(case.conn, actor, case.id, made.id, "mistaken"))  # type: ignore[misc]
    refused("not_found", lambda: reclassify.end(case.conn, BOB, case.id + 1, made.id, "mistaken"))
    refused("parameter_invalid", lambda: reclassify.end(case.conn, BOB, case.id, made.id, " "))
    proposed = case.propose()
    refused("held", lambda: case.execute(proposed.id))
    ended = reclassify.end(case.conn, BOB, case.id, made.id, "mistaken")
    assert (ended.ended_by, ended.end_reason) == ({"kind": "person", "id": "2", "name": "bob"}, "mistaken")
    refused("state_conflict", lambda: reclassify.end(case.conn, BOB, case.id, made.id, "again"))
    case.derive()
    case.execute(proposed.id)
    assert case.sessions() == []
    query = "SELECT count(*) FROM event WHERE project_id = %s AND item = 4 AND position(%s::bytea IN vals) > 0"
    assert [case.rows(query, case.id, said) for said in (b"class.extend", b"class.unextend", b"section 9")] == [[(1,)]] * 3


def test_it_stands_in_no_erasures_way(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    keep(case, a_class(case), customer_id="customer-s-1")
    number = decided(case, "erase", session_id="s-1")
    assert carry_out(case, number)["counts"]["events"] == 3 and MARKER not in str(case.events("s-1"))


@pytest.mark.parametrize("point", ["prepared", "locked"])
def test_one_that_is_made_while_evidence_goes_stops_it_or_waits(case: Case, point: str) -> None:
    case.talk("s-1", 1)
    case.talk("s-2", 1)
    case.derive()
    longer = a_class(case)
    case.derive()
    other = Other(lambda conn: reclassify.make(conn, ANA, case.id, longer, "Contract", {"customer_id": "customer-s-1"}))
    first: list[bool] = []

    def told(step: str) -> None:
        if step == point and not first:
            first.append(other.go_as_far_as_possible(case))

    execute.execute(case.conn, BOB, case.propose().id, case.secrets, told=told)
    other.join()
    assert first == [point == "prepared"] and other.problem == ""
    assert case.sessions() == (["s-1"] if point == "prepared" else []) and case.faults() == []


@pytest.mark.parametrize(
    ("code", "class_no", "reason", "scope"),
    [
        ("scope_empty", 1, "x", {}),
        ("parameter_invalid", 1, "x", {"nope": "x"}),
        ("parameter_invalid", 1, "x", {"customer_id": ""}),
        ("parameter_invalid", 1, "x", {"session_id": "a\0b"}),
        ("parameter_invalid", 1, " ", {"customer_id": "x"}),
        ("parameter_invalid", 1, "x", {"from": "yesterday"}),
        ("not_found", 8_888, "x", {"customer_id": "x"}),
    ],
)
def test_what_cannot_be_kept_longer_is_refused(case: Case, code: str, class_no: int, reason: str, scope: dict[str, str]) -> None:
    refused(code, lambda: reclassify.make(case.conn, ANA, case.id, class_no, reason, scope))
    assert reclassify.listed(case.conn, case.id) == []


def test_a_filter_of_words_is_for_whoever_may_read_them(case: Case) -> None:
    refused("scope_missing", lambda: reclassify.make(case.conn, ANA, case.id, 1, "x", {"q": "secret"}, content=False))


def test_the_role_of_the_pages_can_neither_change_nor_remove_one_nor_end_its_own(case: Case) -> None:
    made = keep(case, 1, customer_id="customer-s-1")
    with connect("web", autocommit=True) as web:
        for statement in ("UPDATE reclassified SET class_no = 4", "DELETE FROM reclassified", "UPDATE reclassified SET made_by = '{}'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                web.execute(statement.encode())
        ended = "UPDATE reclassified SET ended_by = {}, ended_at = now(), end_reason = 'x'"
        for who in ("made_by", "'{}'", """'{"kind": "person"}'""", """'{"kind": "key", "id": "9"}'"""):
            with pytest.raises(psycopg.errors.CheckViolation):
                web.execute(ended.format(who).encode())
        reclassify.end(case.conn, BOB, case.id, made.id, "mistaken")
        for change in (ended.format("made_by"), "UPDATE reclassified SET ended_by = NULL, ended_at = NULL, end_reason = NULL"):
            with pytest.raises(psycopg.errors.RaiseException):
                web.execute(change.encode())


def test_a_session_of_two_periods_that_is_kept_lost_nothing(case: Case) -> None:
    case.talk("s-1")
    extra = msgspec.structs.replace(talk("s-1", 1)[0], trace_id=b"\7" * 16)
    case.send([extra], days_ago=0)
    case.derive()
    keep(case, a_class(case), session_id="s-1")
    case.talk("s-2")
    case.derive()
    case.dispose()
    assert case.sessions() == ["s-1"] and case.rows("SELECT FROM session_loss") == []
