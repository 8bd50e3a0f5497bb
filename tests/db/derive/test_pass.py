"""Owns the checks of the background pass: nothing missed, nothing twice, the same rows whatever arrives first."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from auditlog.derive import consume
from auditlog.derive.binding import Stored
from auditlog.derive.consume import NotAlone, Pass
from auditlog.derive.keys import session_key, trace_session_key
from auditlog.derive.read import moved_to, session_facts
from auditlog.derive.summary import summarise
from auditlog.item import INT, STRING, Attribute, Context, Item, Span, Unreadable
from auditlog.proof import merkle
from auditlog.store.connect import connect
from tests import corpus
from tests.damage import shortened
from tests.db.derived import NOW, Bench

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; these tests commit over connections of their own
TRACE = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")


def span(number: int, trace: bytes = TRACE, **said: str) -> Span:
    attributes: list[Attribute] = [(key.replace("__", "."), STRING, value) for key, value in said.items()]
    start = 1_700_000_000_000_000_000 + number * 1_000_000_000
    return Span(Context(), trace, (number % 2**64).to_bytes(8), f"step {number}", start, start + 500, [*attributes, ("n", INT, number)])


def test_a_trace_belongs_to_the_session_that_its_last_span_declares(bench: Bench) -> None:
    bench.send([span(1)])
    bench.derive()
    own = trace_session_key(bench.project.project_id, TRACE)
    assert bench.rows("SELECT key, session_id, declared FROM session") == [(own, b"trace:" + TRACE.hex().encode(), False)]
    bench.send([span(2, session__id="s-1", customer__id="ACME-2024")])
    bench.derive()
    joined = session_key(bench.project.project_id, b"s-1")
    assert bench.rows("SELECT key, session_id, traces FROM session") == [(joined, b"s-1", 1)]
    assert moved_to(bench.owner.cursor(), 1, bench.project.project_id, own) == joined


def test_of_contradicting_sessions_the_most_explicit_wins_and_the_other_leads_to_it(bench: Bench) -> None:
    for order in ((0, 1), (1, 0)):
        bench.wipe()
        batches = [[span(1, gen_ai__conversation__id="weak")], [span(2, session__id="strong")]]
        for index in order:
            bench.send(batches[index])
            bench.derive()
        strong, weak = (session_key(bench.project.project_id, name) for name in (b"strong", b"weak"))
        assert bench.rows("SELECT key FROM session") == [(strong,)]
        assert moved_to(bench.owner.cursor(), 1, bench.project.project_id, weak) == strong


def test_a_session_spans_its_traces_and_shrinks_when_one_leaves(bench: Bench) -> None:
    other = bytes(15) + b"\x02"
    bench.send([span(1, session__id="s"), span(9, other, gen_ai__conversation__id="s")])
    bench.derive()
    assert bench.rows("SELECT traces, extract(epoch FROM ended_at - started_at)::int FROM session") == [(2, 8)]
    bench.send([span(10, other, session__id="t")])
    bench.derive()
    found = bench.rows("SELECT session_id, traces, extract(epoch FROM ended_at - started_at)::int FROM session ORDER BY 1")
    assert found == [(b"s", 1, 0), (b"t", 1, 1)]


def test_a_trace_that_stays_open_for_days_is_one_session_whose_end_moves(bench: Bench) -> None:
    """Its spans come in different periods of receipt; the first day's answer is right for what was known then."""
    bench.project = bench.project._replace(class_no=2, period="day")
    day = 86_400 * 10**9
    ends = []
    for n in range(4):
        one = span(n + 1, session__id="s-long") if n == 3 else span(n + 1)
        one.start, one.end = 10**18 + n * day, 10**18 + n * day + 10**9
        bench.send([one], NOW - timedelta(days=3 - n))
        bench.derive()
        ((key, ended),) = bench.rows("SELECT key, ended_at FROM session")
        ends.append(ended)
    assert key == session_key(bench.project.project_id, b"s-long")
    assert [later - ends[0] for later in ends] == [timedelta(days=n) for n in range(4)]
    ((buckets,),) = bench.rows("SELECT buckets FROM trace")
    assert len(buckets) == 4


def test_a_session_id_may_be_long_and_contain_anything(bench: Bench) -> None:
    name = "x\0é\u202e" * 4000
    bench.send([span(1, session__id=name)])
    bench.derive()
    key = bench.rows("SELECT key FROM session")[0][0]
    facts = session_facts(bench.owner.cursor(), 1, bench.project.project_id, key)
    assert facts is not None and facts.session_id == name


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_order_and_cutting_of_real_sessions_derives_the_same_rows(bench: Bench, seed: int) -> None:
    items: list[Item] = [item for name in ("openinference/chat_refund", "openai-agents-v2/halluc") for item in corpus.items(name)]
    bench.send(items)
    bench.derive()
    whole = bench.state()
    assert len(whole["session"]) >= 2
    bench.wipe()
    chance = random.Random(seed)
    shuffled = chance.sample(items, len(items))
    while shuffled:
        cut = chance.randint(1, 4)
        bench.send(shuffled[:cut])
        if chance.random() < 0.5:
            bench.send(shuffled[:cut])  # a resend
        if chance.random() < 0.4:
            bench.derive()
        shuffled = shuffled[cut:]
    bench.derive()
    for table, rows in bench.state().items():
        assert rows == whole[table], table


def test_a_batch_is_consumed_once_however_often_the_pass_runs(bench: Bench) -> None:
    for number in range(5):
        bench.send([span(number, session__id="s")])
    bench.derive()
    before = bench.state()
    for _ in range(3):
        assert bench.new_pass().drain() == 0
    assert bench.state() == before and bench.rows("SELECT events, batches FROM tally") == [(5, 5)]


class Killed(BaseException):
    """As a kill -9: nothing in the pass may catch it."""


@pytest.mark.parametrize("statement", range(24))
def test_killed_at_any_statement_nothing_is_missing_after_the_next_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, statement: int
) -> None:
    bench.send([span(1, customer__id="c")])
    bench.send([span(2, session__id="s")])
    work = bench.new_pass()
    count = 0
    real = psycopg.Connection.execute

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count > statement:
            raise Killed
        return real(self, *args, **kwargs)

    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    try:
        work.drain()
    except Killed:
        pass
    monkeypatch.undo()
    bench.derive()
    assert bench.rows("SELECT session_id, traces FROM session") == [(b"s", 1)]
    assert bench.rows("SELECT events, batches FROM tally") == [(2, 2)]
    assert bench.rows("SELECT count(*) FROM derived") == [(2,)]


def test_a_transaction_that_commits_late_is_not_missed(bench: Bench) -> None:
    """Its number is lower than that of a batch which committed before it: a reader by number would pass over it."""
    with connect("owner") as late:
        late.execute("INSERT INTO tally (edition, project_id) VALUES (99, 1)")  # gives this transaction its number
        bench.send([span(1, session__id="after")])
        work = bench.new_pass()
        assert work.drain() == 0  # above the horizon, while the older transaction is open
        late.execute(
            "INSERT INTO batch SELECT 1000000, project_id, key_id, protocol, received_at, system_id, pg_current_xact_id(), 0, 0, "
            "receipt_root FROM batch"
        )
        late.commit()
        assert work.drain() == 2
    bench.owner.execute("DELETE FROM tally WHERE edition = 99")
    assert bench.rows("SELECT count(*) FROM derived") == [(2,)]


def test_batches_of_an_older_cluster_are_consumed_whatever_their_transaction_number(bench: Bench) -> None:
    bench.send([span(1, session__id="s")])
    bench.owner.execute("UPDATE batch SET system_id = 42, xid = '9223372036854775000'::xid8")
    bench.derive()
    assert bench.rows("SELECT session_id FROM session") == [(b"s",)]


def test_a_batch_that_fails_three_times_is_set_aside_and_the_pass_goes_on(bench: Bench) -> None:
    bad = bench.send([span(1, session__id="bad")]).batch_no
    for number in range(2, 6):
        bench.send([span(number, bytes([number]) * 16, session__id="good")])

    def read(batches: Sequence[int]) -> Iterable[Stored]:
        if bad in batches:
            raise ValueError("the content of a customer")
        return bench.reader.events_of_batches(batches)

    bench.new_pass()
    work = Pass.__new__(Pass)
    bench.conn.execute("SELECT pg_advisory_unlock_all()")
    work.__init__(bench.conn, read)  # type: ignore[misc]
    work.drain()
    assert bench.rows("SELECT session_id, traces FROM session") == [(b"good", 4)]
    ((number, attempts, error),) = bench.rows("SELECT batch_no, attempts, error FROM derive_failure")
    assert (number, attempts) == (bad, consume.ATTEMPTS)
    assert "ValueError" in error and "customer" not in error
    assert work.step() == 0


def test_of_a_damaged_event_the_batch_is_set_aside_and_none_behind_it_is_missed(bench: Bench) -> None:
    """Read in one group with others: what cannot be made of one event must never pass for the end of the group."""
    sent = [bench.send([span(number, bytes([number]) * 16, session__id="s")]).batch_no for number in range(1, 6)]
    found = bench.owner.execute("SELECT vals FROM event WHERE batch_no = %s", (sent[1],)).fetchone()
    assert found is not None
    bench.owner.execute("UPDATE event SET vals = %s WHERE batch_no = %s", (shortened(bytes(found[0])), sent[1]))
    bench.derive()
    ((failed, error),) = bench.rows("SELECT batch_no, error FROM derive_failure")
    assert failed == sent[1] and error.startswith("FormatError in auditlog.store.unpack:")
    assert bench.rows("SELECT events, batches FROM tally") == [(4, 4)] and bench.rows("SELECT traces FROM session") == [(4,)]


def test_two_passes_of_one_edition_never_run_together(bench: Bench) -> None:
    bench.new_pass()
    with connect("derive", autocommit=True) as second, pytest.raises(NotAlone):
        Pass(second, bench.reader.events_of_batches)


def test_what_could_not_be_decoded_is_listed_and_counted(bench: Bench) -> None:
    bench.send([Unreadable(1, "protobuf", b"\xff\x00garbage", "item_undecodable", "not a span")])
    bench.derive()
    assert bench.rows("SELECT code FROM quarantined") == [("item_undecodable",)]
    assert bench.rows("SELECT events, quarantined FROM tally") == [(1, 1)]
    assert bench.rows("SELECT count(*) FROM session") == [(0,)]


def test_the_digests_of_a_part_are_kept_where_all_of_it_is_there(bench: Bench) -> None:
    several = bench.send([span(1), span(2), span(3)])
    bench.send([span(4)])
    again = bench.send([span(1), span(5), span(6)])  # one of them is in the first
    gone = bench.send([span(7), span(8), span(9)])
    bench.owner.execute("DELETE FROM event WHERE ctid = (SELECT min(ctid) FROM event WHERE batch_no = %s)", (gone.batch_no,))
    left = (several.batch_no, bench.rows("SELECT min(bucket) FROM part")[0][0])  # by an edition that an older program removed
    bench.owner.execute("INSERT INTO part_leaves (batch_no, bucket, edition, digests) VALUES (%s, %s, 1, 'x')", left)
    bench.derive()
    kept = dict(bench.rows("SELECT batch_no, digests FROM part_leaves"))
    assert sorted(kept) == [several.batch_no, again.batch_no]
    for batch_no, digests in kept.items():
        found = sorted(bytes(row[0]) for row in bench.rows(f"SELECT sha256(skeleton) FROM event WHERE batch_no = {batch_no}"))
        ((root,),) = bench.rows(f"SELECT root FROM part WHERE batch_no = {batch_no}")
        assert digests == b"".join(found) and merkle.batch_root(found) == root


def test_the_pass_cannot_change_evidence(bench: Bench) -> None:
    for statement in ("UPDATE event SET item = 1", "DELETE FROM batch", "DELETE FROM content", "UPDATE part SET count = 0"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            bench.conn.execute(statement)


def test_a_session_that_cannot_be_summarised_does_not_stop_the_others(bench: Bench) -> None:
    bench.send([span(1, session__id="a"), span(2, bytes(16)[:-1] + b"\x07", session__id="b")])
    work = bench.new_pass()
    work.drain()

    def build(facts: Any) -> dict[str, Any]:
        if facts.session_id == "a":
            raise KeyError("content")
        return {"steps": [], "totals": {}, "completeness": {"verdict": "complete", "gaps": []}}

    assert summarise(bench.conn, work.edition, build) == 2
    found = bench.rows("SELECT session_id, verdict, error <> '', stale_since FROM session ORDER BY 1")
    assert found == [(b"a", None, True, None), (b"b", "complete", False, None)]


def test_keys_are_opaque_url_safe_and_differ_between_projects_and_kinds() -> None:
    keys = {session_key(1, b"s"), session_key(2, b"s"), trace_session_key(1, b"s"), session_key(1, uuid.UUID(int=0).bytes)}
    assert len(keys) == 4
    assert all(len(key) == 26 and key.isalnum() and key.islower() for key in keys)
