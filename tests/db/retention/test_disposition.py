"""Owns the checks of disposing of a bucket: what goes, what stays, what is said of it, and that it happens whole or not at all."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from auditlog.derive import rebuild
from auditlog.derive.consume import Pass, declaring
from auditlog.derive.read import session_facts
from auditlog.derive.timeline import Timelines
from auditlog.errors import Problem
from auditlog.export.choice import Wish
from auditlog.export.folder import export
from auditlog.governance import close
from auditlog.item import Context, Unreadable
from auditlog.retention import dispositions, execute, holds, rewrite
from auditlog.search import sealed
from auditlog.search.scope import Scope
from auditlog.store.connect import connect
from auditlog.store.reader import Reader
from auditlog.verify import standalone
from tests.db.api.talks import talk
from tests.db.retention.conftest import ANA, BOB, MARKER, Case, seal


def certificates(case: Case) -> int:
    """How often a certificate stands among the evidence."""
    query = "SELECT FROM event WHERE project_id = %s AND item = 4 AND position(%s::bytea IN vals) > 0"
    return len(case.rows(query, case.id, b"disposition.certificate"))


def test_nothing_of_what_was_disposed_of_is_found_in_any_table(case: Case) -> None:
    case.talk("s-gone", 3)
    case.talk("s-partly", 2)
    case.derive()
    case.talk("s-partly", 3, days_ago=0)  # the same trace goes on in a later period
    case.derive()
    gone, both = f"{MARKER} s-gone", f"{MARKER} s-partly"
    before = case.found_anywhere(gone)
    for column in ("session.opening", "search_text.texts", "content.bytes"):
        assert f"public.{column}" in before, column  # it can be seen there while it is there
    assert {"public.session.session_id", "public.declared.value", "public.event.vals"} <= case.found_anywhere("s-gone")
    case.dispose()
    assert case.found_anywhere("s-gone") == set() and case.sessions() == ["s-partly"]
    suffix = case.rows(
        "SELECT to_char(starts AT TIME ZONE 'UTC', 'YYYYMMDD') FROM bucket WHERE class_no = %s ORDER BY 1 DESC", case.class_no
    )[0]
    assert case.found_anywhere(both) == {"public.content.bytes", f"public.content_{case.class_no}_{suffix[0]}.bytes"}


def test_a_session_that_lost_a_part_says_so_and_cites_the_certificate(case: Case) -> None:
    case.talk("s-partly")
    case.talk("s-partly", 3, days_ago=0)
    case.derive()
    certificate = case.dispose()
    case.derive()
    (gaps,) = case.rows("SELECT gaps, verdict, stale_since FROM session WHERE project_id = %s", case.id)
    assert gaps[0] > 0 and gaps[1] == "gaps" and gaps[2] is None
    made = Timelines(case.bench.reader)
    (key,) = case.rows("SELECT key FROM session WHERE project_id = %s", case.id)
    facts = session_facts(case.conn.cursor(), 1, case.id, key[0])
    assert facts is not None
    (gap,) = [one for one in made(facts)["completeness"]["gaps"] if one["code"] == "content_disposed"]
    assert f"certificate {certificate['disposition']} of {certificate['executed']['at'][:10]}" in gap["message"]


@pytest.mark.parametrize("held", [False, True])
def test_a_rebuild_after_it_gives_the_same_tables(case: Case, held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "FRESH_SECONDS", -3600)
    for session in ("s-1", "s-2", "s-3"):
        case.talk(session, 3)
    case.send([Unreadable(1, "protobuf", b"what is this", "item_undecodable", "no", context=Context())])
    case.talk("s-2", 3, days_ago=0)  # the same items a second time: received twice, counted once
    case.talk("s-4", 2, days_ago=0)
    case.derive()
    if held:
        case.hold(session_id="s-3")
    case.dispose()
    case.derive()
    conn = connect("derive", autocommit=True)
    reader = Reader(conn, lambda _: case.bench.project.secret)
    rebuild.begin(conn)
    work = Pass(conn, declaring(reader), "filling")
    rebuild.fill(conn, work, Timelines(reader))
    assert rebuild.compare(conn, work.edition) == []
    assert case.rows("SELECT quarantined FROM tally WHERE edition = 1 AND project_id = %s", case.id) == [(1 if held else 0,)]
    conn.close()


def test_the_certificate_counts_what_the_parts_promised(case: Case) -> None:
    written = [case.talk("s-1"), case.talk("s-2", 3)]
    case.derive()
    certificate = case.dispose()
    total = sum(one.stored for one in written)
    assert certificate["counts"]["promised"] == certificate["counts"]["disposed"] == total and certificate["counts"]["held"] == 0
    assert certificate["batches"] == [written[0].batch_no, written[1].batch_no] and certificate["by_version"] == {"1": total}
    assert certificate["by_project"] == {str(case.id): total} and certificate["method"] == "partition dropped"
    assert certificate["proposed"]["by"]["name"] == "ana" and certificate["executed"]["by"]["name"] == "bob"
    assert certificate["backups"] == "as your backups expire" and certificates(case) == 1
    assert case.rows("SELECT state FROM bucket WHERE bucket = %s", case.bucket) == [("disposed",)]
    assert case.faults() == []
    assert case.execute(certificate["disposition"]) == certificate and certificates(case) == 1  # again: the same


def test_a_bucket_that_is_gone_without_a_certificate_is_a_fault(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    case.conn.execute("UPDATE bucket SET state = 'disposed' WHERE bucket = %s", (case.bucket,))
    assert {fault.code for fault in case.faults()} == {"certificate_missing"}


def test_what_is_held_stays_byte_for_byte_and_verifies_and_the_rest_goes(case: Case) -> None:
    for session in ("s-1", "s-2", "s-held"):
        case.talk(session, 12)  # long enough for conversations to be chains of nodes
    case.derive()
    hold = case.hold(session_id="s-held")
    before = case.events("s-held")
    content = case.rows("SELECT count(*) FROM content WHERE bucket = %s", case.bucket)[0][0]
    certificate = case.dispose()
    assert case.events("s-held") == before and case.events("s-1") == []
    assert case.faults() == [] and case.sessions() == ["s-held"]
    assert 0 < case.rows("SELECT count(*) FROM content WHERE bucket = %s", case.bucket)[0][0] < content
    assert certificate["counts"]["held"] == len(before) and certificate["method"] == "partition rewritten"
    assert certificate["holds"] == [{"hold": hold.id, "project": case.id, "name": "Case 7", "traces": 1}]
    assert case.rows("SELECT state FROM bucket WHERE bucket = %s", case.bucket) == [("closed",)]
    assert case.rows("SELECT to_regclass(format('draft.event_%%s', %s::text))::text", case.class_no) == [(None,)]
    case.conn.execute(
        "DELETE FROM tombstone WHERE bucket = %s AND event_id = (SELECT min(event_id::text)::uuid FROM tombstone "
        "WHERE batch_no IN (SELECT batch_no FROM batch WHERE project_id = %s))",
        (case.bucket, case.id),
    )
    assert {fault.code for fault in case.faults()} == {"count_differs", "root_differs"}  # the check above can fail


def test_what_stays_is_proven_as_before_and_exported_with_its_paths(case: Case, tmp_path: Path) -> None:
    case.send([*talk("s-gone", 2), *talk("s-held", 2)])  # one part has events that go and events that stay
    case.derive()
    case.hold(session_id="s-held")
    seal(case, tmp_path / "log.key")
    held = case.events("s-held")
    before = [sealed.proof(Scope(case.id), one.id) for one in held]
    case.dispose()
    assert [sealed.proof(Scope(case.id), one.id) for one in held] == before
    export(case.conn, case.secrets, Wish(case.id, "Case", "a court", "a test"), tmp_path / "export")
    parts = [json.loads(line) for line in (tmp_path / "export" / "parts.jsonl").read_text().splitlines()]
    assert [len(part["events"]) for part in parts if not part["whole"]] == [len(held)]
    assert standalone.main([str(tmp_path / "export")], io.StringIO()) == 0
    case.conn.execute("DELETE FROM tombstone WHERE bucket = %s", (case.bucket,))
    with pytest.raises(Problem, match="are not those that were sealed"):
        sealed.proof(Scope(case.id), held[0].id)


def test_when_the_hold_is_released_the_rest_can_go(case: Case) -> None:
    case.talk("s-1")
    case.talk("s-held")
    case.derive()
    hold = case.hold(session_id="s-held")
    first = case.dispose()
    with pytest.raises(Problem) as refused:
        case.dispose()
    assert refused.value.code == "held"
    holds.release(case.conn, BOB, case.id, hold.id, "Settled")
    (again,) = [one for one in dispositions.listed(case.conn) if one.state == "proposed"]
    second = case.execute(again.id)
    assert second["counts"]["gone_before"] == first["counts"]["disposed"] and second["counts"]["disposed"] == first["counts"]["held"]
    assert case.sessions() == [] and case.faults() == [] and certificates(case) == 2
    assert case.rows("SELECT FROM tombstone WHERE bucket = %s", case.bucket) == []


def test_it_is_refused_before_it_is_due_by_the_version_in_force(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    proposed = case.propose()
    case.version(2, days=400)
    for attempt in (lambda: case.execute(proposed.id), case.propose):
        with pytest.raises(Problem) as refused:
            attempt()
        assert refused.value.code == "not_due"
    assert case.sessions() == ["s-1"] and not case.rows("SELECT FROM disposition WHERE state = 'executed'")


def test_a_class_that_asks_for_two_people_gets_two(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    case.version(2, second_person=True)
    proposed = case.propose()
    for attempt in (lambda: case.execute(proposed.id), lambda: dispositions.approve(case.conn, ANA, proposed.id)):
        with pytest.raises(Problem) as refused:
            attempt()
        assert refused.value.code == "second_person"
    dispositions.approve(case.conn, BOB, proposed.id)
    assert case.execute(proposed.id)["approved"]["by"]["name"] == "bob"


def test_one_that_was_refused_or_cancelled_is_not_executed(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    for state in ("refused", "cancelled"):
        proposed = case.propose()
        with pytest.raises(Problem) as refused:
            case.propose()
        assert refused.value.code == "state_conflict"
        dispositions.end(case.conn, BOB, proposed.id, state, "not yet")
        with pytest.raises(Problem) as refused:
            case.execute(proposed.id)
        assert refused.value.code == "state_conflict"
    assert case.sessions() == ["s-1"]


def test_it_waits_for_the_pass_and_for_a_rebuild(case: Case) -> None:
    case.talk("s-1")
    proposed = case.propose()
    with pytest.raises(Problem) as refused:
        case.execute(proposed.id)
    assert refused.value.code == "derive_behind"
    case.derive()
    case.conn.execute("INSERT INTO edition (number, state) VALUES (2, 'filling')")
    with pytest.raises(Problem) as refused:
        case.execute(proposed.id)
    assert refused.value.code == "derive_behind"
    case.conn.execute("DELETE FROM edition WHERE number = 2")
    case.execute(proposed.id)


def test_evidence_that_somebody_changed_is_not_disposed_of(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    case.conn.execute(
        "DELETE FROM event WHERE (trace_key, event_id) = (SELECT trace_key, event_id FROM event WHERE bucket = %s LIMIT 1)", (case.bucket,)
    )
    proposed = case.propose()
    with pytest.raises(Problem) as refused:
        case.execute(proposed.id)
    assert refused.value.code == "count_differs"


class Killed(Exception):
    pass


class Mortal:
    """A process with an owner's connection that is lost before its statement of a certain number."""

    def __init__(self, case: Case, disposition: int, at: int = 1_000) -> None:
        self.case, self.disposition, self.at = case, disposition, at
        self.done = 0

    def dies(self, told: Callable[[str], None] = lambda step: None) -> bool:
        mortal = self

        class Cursor(psycopg.Cursor[Any]):
            def execute(self, *args: Any, **kwargs: Any) -> Any:
                mortal.done += 1
                if mortal.done >= mortal.at:
                    self.connection.close()
                    raise Killed
                return super().execute(*args, **kwargs)

        died = False
        with closing(connect("owner", autocommit=True, cursor_factory=Cursor, options="-c synchronous_commit=off")) as conn:
            pid = conn.info.backend_pid
            try:
                execute.execute(conn, BOB, self.disposition, self.case.secrets, told=told)
            except Killed:
                died = True
        ends = time.monotonic() + 30
        while self.case.rows("SELECT FROM pg_stat_activity WHERE pid = %s", pid):
            assert time.monotonic() < ends, "the server process of a closed connection does not end"
            time.sleep(0.005)  # until then it holds its locks
        return died


def test_killed_at_any_statement_all_of_it_happened_or_nothing_and_the_next_run_finishes_it(case: Case) -> None:
    case.talk("s-1", 1)
    case.talk("s-held", 1)
    case.derive()
    case.hold(session_id="s-held")
    number = case.propose().id
    whole = case.rows("SELECT count(*) FROM event WHERE bucket = %s", case.bucket)[0][0]

    def locked(step: str) -> None:
        if step == "locked":
            raise Killed

    first = Mortal(case, number)
    assert first.dies(locked)
    deaths = {"proposed": 0, "executed": 0}
    # Each statement of its transaction, and a few of those before, which only prepare; then each statement of what follows its COMMIT.
    for at in [*range(2, first.done, 8), *range(first.done, 200)]:
        if not Mortal(case, number, at).dies() or dispositions.get(case.conn, number).state == "executed":
            break
        deaths["proposed"] += 1
        assert case.rows("SELECT count(*) FROM event WHERE bucket = %s", case.bucket) == [(whole,)], at
    assert case.faults() == [] and 0 < case.rows("SELECT count(*) FROM event WHERE bucket = %s", case.bucket)[0][0] < whole
    while Mortal(case, number, 2 + deaths["executed"]).dies():
        deaths["executed"] += 1
    assert deaths["proposed"] > 20 and deaths["executed"] > 20
    done = dispositions.get(case.conn, number)
    assert done.recorded_at and done.forgotten_at and certificates(case) == 1
    assert case.sessions() == ["s-held"] and case.faults() == []


def test_a_reader_that_stays_in_the_tables_is_waited_for_shortly_and_ingest_never_stops(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.talk("s-1")
    case.derive()
    proposed = case.propose()
    assert rewrite.LOCK_TIMEOUT == "500ms"  # waited for at most twice in one attempt
    monkeypatch.setattr(rewrite, "LOCK_TIMEOUT", "20ms")
    told: list[str] = []
    with connect("web") as reader:
        reader.execute("SELECT count(*) FROM event")

        def step(what: str) -> None:
            told.append(what)
            if told.count("busy") == 2:
                reader.rollback()

        case.execute(proposed.id, told=step)
    assert told.count("busy") == 2 and case.sessions() == []


def test_parallel_executions_make_one_certificate(case: Case) -> None:
    case.talk("s-1")
    case.derive()
    proposed = case.propose()
    found: list[Any] = []

    def run() -> None:
        with connect("owner", autocommit=True) as conn:
            try:
                found.append(execute.execute(conn, BOB, proposed.id, case.secrets))
            except Problem as problem:
                found.append(problem.code)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    close()
    assert certificates(case) == 1 and any(isinstance(one, dict) for one in found)


def test_batches_of_what_stayed_are_found_without_reading_all_of_it(case: Case) -> None:
    for number in range(40):
        case.talk(f"s-{number}", 12)
    case.derive()
    case.hold(tool="look_up")
    case.talk("s-gone", 1)
    case.derive()
    case.dispose()
    ((table, index),) = case.rows(
        "SELECT DISTINCT e.tableoid::regclass::text, i.indexrelid::regclass::text FROM event e JOIN pg_index i ON i.indrelid = e.tableoid "
        "JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am a ON a.oid = x.relam AND a.amname = 'brin' WHERE e.bucket = %s", case.bucket
    )  # fmt: skip
    ((pages,),) = case.rows(f"SELECT pg_relation_size('{table}'::regclass) / 8192")
    assert pages > 64 and case.rows(f"SELECT brin_summarize_new_values('{index}'::regclass)") == [(0,)], "its index knows all of them"
