"""Owns the checks of requests of erasure: nothing of what was erased is found anywhere, all proofs hold, and a death leaves no half."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from django.contrib.auth.models import User

from auditlog import models
from auditlog.derive import withdraw
from auditlog.errors import Problem
from auditlog.item import INT, STRING, WITHHELD, Span
from auditlog.retention import clocks, erasures, fulfil, hidden, holds
from auditlog.retention.erasure import erase_fields
from auditlog.retention.erasures import Asked, Decision, Erasure
from auditlog.store import fields, unpack
from auditlog.store.connect import connect
from auditlog.store.reader import split_id
from tests.db.api.talks import START, talk
from tests.db.derived import NOW
from tests.db.retention.conftest import ANA, BOB, MARKER, Case
from tests.db.retention.test_commands import run
from tests.unit.store.test_pack import guesses_that_fit

ERASE = Decision("erase", "founded")


def asked(case: Case, **scope: Any) -> Erasure:
    return erasures.request(case.conn, ANA, case.id, Asked(scope, "Letter 12", "GDPR, Art. 17", "the customer", NOW, NOW + timedelta(30)))


def decided(case: Case, outcome: str, *chosen: int, **scope: Any) -> int:
    return erasures.decide(case.conn, BOB, case.id, asked(case, **scope).id, Decision(outcome, "founded", chosen)).id


def carry_out(case: Case, number: int, **how: Any) -> dict[str, Any]:
    return fulfil.carry_out(case.conn, case.id, number, case.secrets, **how)


def recorded(case: Case, action: bytes) -> int:
    query = "SELECT FROM event WHERE project_id = %s AND item = 4 AND position(%s::bytea IN vals) > 0"
    return len(case.rows(query, case.id, action))


def refused(code: str, work: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        work()
    assert caught.value.code == code
    return caught.value


def test_nothing_of_an_erased_customer_is_found_in_any_table_and_all_proofs_hold(case: Case) -> None:
    case.talk("s-gone", 3)
    case.talk("s-gone", 3, days_ago=0)  # the same events a second time, in another period
    case.talk("s-stays")
    case.derive()
    said, name = f"{MARKER} s-gone", "customer-s-gone"
    assert {"public.session.opening", "public.search_text.texts", "public.content.bytes"} <= case.found_anywhere(said)
    assert {"public.declared.value", "public.event.vals"} <= case.found_anywhere(name)
    request = asked(case, customer_id=name)
    told = erasures.preview(case.conn, request)
    assert (told["events"], told["traces"], told["holds"], told["unreadable"]) == (5, 1, [], 0)
    assert told["fields"]["input"] == 6 and told["fields"]["result"] == 4  # in two periods
    number = erasures.decide(case.conn, BOB, case.id, request.id, ERASE).id
    certificate = carry_out(case, number)
    assert case.found_anywhere(said) == case.found_anywhere(name) == set()
    case.derive()
    assert case.found_anywhere(said) == case.found_anywhere(name) == set() and "s-gone" not in case.sessions()
    assert case.found_anywhere(f"{MARKER} s-stays") and "s-stays" in case.sessions()
    assert case.faults() == []
    assert certificate["counts"]["events_changed"] == 5 and certificate["counts"]["contents_destroyed"] > 0
    assert certificate["scope"] == ["customer_id"] and certificate["decided"]["by"]["name"] == "bob"
    assert erasures.get(case.conn, case.id, number).scope == {"customer_id": None}
    assert carry_out(case, number) == certificate and recorded(case, b"erasure.certificate") == 1  # again: the same


def test_an_erased_event_that_is_sent_again_is_known_and_brings_nothing_back(case: Case) -> None:
    case.talk("s-gone")
    case.derive()
    carry_out(case, decided(case, "erase", session_id="s-gone"))
    again = case.talk("s-gone")
    case.derive()
    assert (again.stored, again.acknowledged) == (0, again.duplicates) and again.duplicates > 1
    assert case.found_anywhere(f"{MARKER} s-gone") == set() and case.faults() == []


def test_an_erased_text_in_a_new_event_is_new_evidence_and_can_be_read(case: Case) -> None:
    case.talk("s-1", 3)
    case.derive()
    first, *_, last = case.events("s-1")
    carry_out(case, decided(case, "erase", events=[first.id, last.id]))
    assert isinstance(first.item, Span)
    case.send([msgspec.structs.replace(first.item, span_id=b"another!")])
    (fresh,) = [one for one in case.events("s-1") if isinstance(one.item, Span) and one.item.span_id == b"another!"]
    assert isinstance(fresh.item, Span) and fresh.item.attributes == first.item.attributes and case.faults() == []


def test_a_redacted_field_goes_and_the_timeline_says_that_it_was_there(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    first = case.events("s-1")[0]
    certificate = carry_out(case, decided(case, "redact", fields.INPUT, events=[first.id]))
    case.derive()
    counts = certificate["counts"]
    assert certificate["fields"] == ["input"] and (counts["events"], counts["fields_erased"]) == (1, 1)
    assert counts["contents_kept"] == 1 and case.faults() == []  # the next request repeats the message
    (gaps,) = case.rows("SELECT array_agg(kind) FROM session_term WHERE project_id = %s", case.id)
    assert "gap" in gaps[0] and case.sessions() == ["s-1"]
    ((key,),) = case.rows("SELECT key FROM session WHERE project_id = %s", case.id)
    (cited,) = [gap["message"] for gap in case.gaps(key) if gap["code"] == "content_withheld"]
    assert f"erased on request: certificate {certificate['erasure']} of {datetime.now(UTC):%Y-%m-%d}." in cited
    assert [one.digest for one in case.events("s-1") if one.id == first.id] == [first.digest]


def test_an_erased_value_of_three_digits_is_not_found_by_trying_all_thousand(case: Case) -> None:
    item = talk("s-1", 1)[0]
    assert isinstance(item, Span)
    case.send([Span(item.context, item.trace_id, item.span_id, "chat", START, START + 1, [("customer.id", STRING, "417"), ("n", INT, 1)])])
    case.derive()
    ids = split_id(case.events("s-1")[0].id)
    assert ids is not None
    stored = "SELECT skeleton, vals FROM event WHERE trace_key = %s AND event_id = %s"
    before = case.rows(stored, *ids)[0]
    assert unpack.parse(*map(bytes, before)).values[fields.IDENTITY]
    carry_out(case, decided(case, "redact", fields.IDENTITY, customer_id="417"))
    (after,) = case.rows(stored, *ids)
    assert guesses_that_fit(*map(bytes, after)) == [] and case.faults() == []
    assert bytes(after[0]) == bytes(before[0])


def decided_again(case: Case) -> int:
    request = asked(case, session_id="s-1")
    case.derive()
    return erasures.decide(case.conn, BOB, case.id, request.id, ERASE).id


def test_what_is_held_is_neither_decided_nor_carried_out(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    number = decided(case, "erase", session_id="s-1")
    hold = case.hold(customer_id="customer-s-1")
    case.derive()  # what was recorded of the hold
    before = case.events("s-1")
    assert refused("held", lambda: carry_out(case, number)).detail == {"holds": [hold.id]}
    assert refused("held", lambda: decided_again(case)).detail == {"holds": [hold.id]}
    again = asked(case, session_id="s-1")
    case.derive()
    assert erasures.preview(case.conn, again)["holds"] == [{"hold": hold.id, "name": "Case 7", "traces": 1}]
    assert case.events("s-1") == before
    holds.release(case.conn, BOB, case.id, hold.id, "over")
    carry_out(case, number)
    assert case.found_anywhere(f"{MARKER} s-1") == set()


def test_nothing_goes_before_the_pass_has_finished_with_it(case: Case) -> None:
    case.talk("s-1")
    request = asked(case, session_id="s-1")
    refused("derive_behind", lambda: erasures.decide(case.conn, BOB, case.id, request.id, ERASE))
    case.derive()
    erasures.decide(case.conn, BOB, case.id, request.id, ERASE)
    case.conn.execute("UPDATE session SET text_due = now() WHERE project_id = %s", (case.id,))
    before = case.events("s-1")
    refused("derive_behind", lambda: carry_out(case, request.id))
    assert case.events("s-1") == before


@pytest.mark.parametrize("where", ["erased", "forgotten", "committed", "recorded"])
def test_a_death_anywhere_leaves_no_half_and_the_same_request_goes_on(case: Case, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fulfil, "AT_ONCE", 1)
    for session in ("s-1", "s-2"):
        case.talk(session)
    case.derive()
    ids = [one.id for session in ("s-1", "s-2") for one in case.events(session)]
    number = decided(case, "erase", events=ids)

    def die(step: str) -> None:
        if step == where:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(case, number, told=die)
    gone = [not case.found_anywhere(f"{MARKER} {session}") for session in ("s-1", "s-2")]
    assert gone.count(True) == {"erased": 0, "forgotten": 0, "committed": 1, "recorded": 2}[where]
    done = case.rows("SELECT count(*) FILTER (WHERE done_at IS NOT NULL) FROM erasure_item WHERE erasure = %s", number)
    assert done == [(gone.count(True) * 3,)]
    carry_out(case, number)
    assert case.found_anywhere(MARKER) == set() and case.faults() == [] and recorded(case, b"erasure.certificate") == 1


def test_a_request_is_refused_with_its_reason_and_nothing_goes(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    before = case.events("s-1")
    certificate = carry_out(case, decided(case, "refuse", session_id="s-1"))
    assert (certificate["outcome"], certificate["outcome_reason"], certificate["counts"]["events"]) == ("refuse", "founded", 0)
    assert case.events("s-1") == before and recorded(case, b"erasure.certificate") == 1


@pytest.mark.parametrize("code, scope", [
    ("scope_empty", {}), ("parameter_invalid", {"q": "words"}), ("parameter_invalid", {"session_id": ""}),
    ("parameter_invalid", {"events": ["x"]}), ("parameter_invalid", {"events": []}),
])  # fmt: skip
def test_a_request_says_whom_it_concerns(case: Case, code: str, scope: dict[str, Any]) -> None:
    refused(code, lambda: asked(case, **scope))
    assert erasures.listed(case.conn, case.id) == []


def test_from_the_request_to_the_certificate_by_command(case: Case) -> None:
    User.objects.all().delete()
    models.Member.join(User.objects.create_user("ana"), case.row, ["compliance"])
    case.talk("s-1")
    case.derive()
    slug = case.row.slug
    told = run("erase", slug, "--request", "session_id=s-1", "--by", "ana", "--reason", "r", "--basis", "b", "--asked-by", "letter 1")
    number = told.split()[1]
    assert json.loads(run("erase", slug, "--preview", number))["events"] == 3
    run("erase", slug, "--decide", number, "--by", "ana", "--outcome", "redact", "--field", "input", "output", "--reason", "yes")
    out = run("erase", slug, "--carry-out", number)
    assert json.loads(out[out.index("{") :])["fields"] == ["input", "output"]
    assert f"request {number}  redacted  received" in run("erase", slug)


# -- restricted: nothing is shown, everything is kept --------------------------------------------------------------------------


def restrict(case: Case, until: datetime | None = None, **scope: Any) -> int:
    decision = Decision("restrict", "the customer disputes it", (), until or datetime.now(UTC) + timedelta(90))
    number = erasures.decide(case.conn, BOB, case.id, asked(case, **scope).id, decision).id
    case.derive()
    carry_out(case, number)
    case.derive()
    return number


def found_beside_the_evidence(case: Case, text: str) -> set[str]:
    return {place for place in case.found_anywhere(text) if not place.startswith("public.content")}


def test_what_is_restricted_is_found_nowhere_but_in_the_evidence_and_comes_back_when_it_is_lifted(case: Case) -> None:
    for session in ("s-hidden", "s-stays"):
        case.talk(session)
    case.derive()
    before, shown = case.events("s-hidden"), case.found_anywhere(f"{MARKER} s-hidden")
    rows = case.rows("SELECT trace_key, event_id, skeleton, vals FROM event WHERE project_id = %s AND item <> 4 ORDER BY 1, 2", case.id)
    assert {"public.session.opening", "public.search_text.texts"} <= shown
    number = restrict(case, customer_id="customer-s-hidden")
    assert found_beside_the_evidence(case, f"{MARKER} s-hidden") == set()
    assert "s-hidden" not in case.sessions() and "s-stays" in case.sessions()
    hidden = case.events("s-hidden")
    assert [one.digest for one in hidden] == [one.digest for one in before] and [one.item for one in hidden] != [one.item for one in before]
    assert all(value is None for one in hidden if isinstance(one.item, Span) for _, kind, value in one.item.attributes if kind == WITHHELD)
    assert (
        case.rows("SELECT trace_key, event_id, skeleton, vals FROM event WHERE project_id = %s AND item <> 4 ORDER BY 1, 2", case.id)
        == rows
    )
    assert case.faults() == []
    fulfil.lift(case.conn, BOB, case.id, number, "settled", case.secrets)
    case.derive()
    assert case.events("s-hidden") == before and case.found_anywhere(f"{MARKER} s-hidden") == shown and "s-hidden" in case.sessions()
    assert recorded(case, b"erasure.lift") == 1
    refused("state_conflict", lambda: fulfil.lift(case.conn, BOB, case.id, number, "again", case.secrets))


def test_a_restricted_session_says_by_which_request_and_until_when(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    trace = case.events("s-1")[0].trace_key
    number = restrict(case, datetime(2099, 5, 4, tzinfo=UTC), session_id="s-1")
    ((key,),) = case.rows("SELECT session_key FROM trace WHERE project_id = %s AND trace_key = %s", case.id, trace)
    gaps = case.gaps(key)
    (said,) = [gap["message"] for gap in gaps if gap["code"] == "content_withheld"]
    assert not any("Enable content capture" in gap["message"] for gap in gaps), "it was captured"
    assert f"restricted on request: certificate {number} until 2099-05-04." in said and "erased on request" not in said


def test_what_is_restricted_is_held_by_every_hold_because_no_search_can_say_that_it_is_not(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    event = case.events("s-1")[0]
    restrict(case, session_id="s-1")
    hold = case.hold(customer_id="somebody-else")
    case.derive()
    assert holds.held(case.conn, case.bucket)[case.id, event.trace_key] == {hold.id}
    assert refused("held", lambda: decided(case, "erase", events=[event.id])).detail == {"holds": [hold.id]}


def test_what_is_held_can_be_restricted_because_nothing_of_it_goes(case: Case) -> None:
    case.talk("s-1")
    case.hold(session_id="s-1")
    case.derive()
    restrict(case, session_id="s-1")
    assert found_beside_the_evidence(case, f"{MARKER} s-1") == set() and case.found_anywhere(f"{MARKER} s-1")


def test_a_lift_that_died_goes_on(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fulfil, "AT_ONCE", 1)
    for session in ("s-1", "s-2"):
        case.talk(session)
    case.derive()
    ids = [one.id for session in ("s-1", "s-2") for one in case.events(session)]
    number = restrict(case, events=ids)
    again, calls = withdraw.make_again, []

    def die_at_the_second(*given: Any) -> None:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        again(*given)

    monkeypatch.setattr(withdraw, "make_again", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        fulfil.lift(case.conn, BOB, case.id, number, "settled", case.secrets)
    assert len(case.rows("SELECT DISTINCT trace_key FROM restricted WHERE erasure = %s", number)) == 1
    fulfil.lift(case.conn, BOB, case.id, number, "settled", case.secrets)
    case.derive()
    assert case.rows("SELECT FROM restricted") == [] and {"s-1", "s-2"} <= set(case.sessions()) and recorded(case, b"erasure.lift") == 1


def test_the_same_event_of_another_project_is_not_restricted_with_it(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    number = restrict(case, session_id="s-1")
    case.conn.execute("UPDATE restricted SET project_id = project_id + 1 WHERE erasure = %s", (number,))
    assert all(isinstance(one.item, Span) and (WITHHELD, None) not in [at[1:] for at in one.item.attributes] for one in case.events("s-1"))


@pytest.mark.parametrize("outcome, until", [("restrict", None), ("restrict", NOW - timedelta(400)), ("erase", NOW + timedelta(30))])
def test_a_restriction_and_nothing_else_says_when_it_is_looked_at_again(case: Case, outcome: str, until: datetime | None) -> None:
    case.talk("s-1")
    case.derive()
    request = asked(case, session_id="s-1")
    refused("parameter_invalid", lambda: erasures.decide(case.conn, BOB, case.id, request.id, Decision(outcome, "r", (), until)))
    assert erasures.get(case.conn, case.id, request.id).state == "open"


def other_trace(case: Case, name: str, session: str, days_ago: int = 4) -> uuid.UUID:
    """A trace of a session, in which nobody is named but the session."""
    items = talk(name, 1, f"{MARKER} {name}")
    for item in items:
        assert isinstance(item, Span)
        kept = [one for one in item.attributes if "customer" not in one[0]]
        item.attributes = [(key, kind, session if key == "session.id" else value) for key, kind, value in kept]
    case.send(items, days_ago)
    case.derive()
    return uuid.UUID(bytes=items[0].trace_id)  # type: ignore[union-attr]


def test_what_lies_beside_restricted_values_is_held_and_waits_as_before_and_so_does_what_comes_later(case: Case) -> None:
    case.talk("s-1")
    beside = other_trace(case, "t-2", "s-1")
    stranger = other_trace(case, "t-3", "s-3")
    hold = case.hold(customer_id="customer-s-1")
    case.derive()
    named = case.events("s-1")[0].trace_key
    assert {key for _, key in holds.held(case.conn, case.bucket)} == {named, beside}
    number = restrict(case, events=[one.id for one in case.events("s-1")])
    late = other_trace(case, "t-4", "s-1")
    assert {key for _, key in holds.held(case.conn, case.bucket)} == {named, beside, late}
    assert {key for _, key in hidden.beside(case.conn, case.bucket)} == {named, beside, late}
    waiting = {key for _, key in clocks.still(case.conn, case.bucket, "customer", 1)}
    assert {named, beside, late} <= waiting
    other = [one.id for one in case.bench.reader.events_of_traces(case.id, [beside])]
    assert refused("held", lambda: decided(case, "erase", events=other)).detail == {"holds": [hold.id]}
    fulfil.lift(case.conn, BOB, case.id, number, "settled", case.secrets)
    case.derive()
    assert case.rows("SELECT FROM restricted_session") == [] and hidden.beside(case.conn, case.bucket) == set()
    assert stranger not in {key for _, key in holds.held(case.conn, case.bucket)}


def test_the_pages_can_neither_change_what_was_decided_nor_name_more_of_it_nor_what_was_recorded(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    asked(case, session_id="s-1")
    case.derive()
    ((trace, event),) = case.rows("SELECT trace_key, event_id FROM event WHERE project_id = %s AND item = 4 LIMIT 1", case.id)
    number = decided(case, "refuse", session_id="s-1")
    with connect("web", autocommit=True) as web:
        for statement, values in (
            ("UPDATE erasure SET outcome = 'erase' WHERE id = %s", (number,)),
            ("UPDATE erasure SET state = 'open', outcome = NULL, decided_by = NULL, decided_at = NULL WHERE id = %s", (number,)),
            ("INSERT INTO erasure_item (erasure, trace_key, event_id) VALUES (%s, %s, %s)", (number, trace, event)),
            ("INSERT INTO erasure (project_id, state) VALUES (%s, 'ended')", (case.id,)),
            ("DELETE FROM restricted WHERE erasure = %s", (number,)),
        ):  # fmt: skip
            with pytest.raises((psycopg.errors.RaiseException, psycopg.errors.InsufficientPrivilege)):
                web.execute(statement, values)
    wanted = {(trace, event): list(fields.NAMES)}
    assert erase_fields(case.conn, case.id, case.secrets(case.id), wanted).events == 0, "the record of who did what stays"
