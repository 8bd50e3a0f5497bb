"""Owns the checks that nothing in the database can be changed without verification naming it: one table of what a superuser may try."""

from __future__ import annotations

import io
from typing import Any, LiteralString

import msgspec
import pytest
from django.core.management import CommandError, call_command

from auditlog import jobs, tasks, verifications
from auditlog.models import Job, Verification
from auditlog.platform import gauges
from auditlog.store import connect as connecting
from auditlog.verify import log
from auditlog.verify.batches import Fault
from auditlog.verify.log import Pin, Walk
from auditlog.verify.timestamps import Trusted
from auditlog.verify.whole import Progress, Run, Scope
from tests import sealing
from tests.db.sealed.conftest import Stood
from tests.emptying import empty

pytestmark = pytest.mark.django_db


def verified(stood: Stood, scope: Scope | None = None, pins: list[Pin] | None = None, trusted: Trusted | None = None) -> Progress:
    """To the end, each portion by another process: what is known between two is what JSON carries."""
    asked = scope or Scope()
    progress = None
    while progress is None or progress.stage != "done":
        run = Run(stood.owner, stood.secret, asked, progress, pins or [], trusted)
        run.step()
        progress = msgspec.convert(msgspec.to_builtins(run.progress), Progress)
    return progress


def test_what_was_sealed_verifies_and_an_erased_field_is_withheld(stood: Stood, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditlog.verify.whole.EVENTS", 20)
    found = verified(stood)
    assert (found.faults, found.fault_count, found.withheld, found.not_sealed) == ([], 0, 1, 0)
    assert found.leaves == found.batches == len(stood.written) and found.events > 80 and found.contents > 200
    assert found.signed is not None and found.signed[0] == found.leaves


FIRST = "(SELECT min(batch_no) FROM batch)"
EVENT = f"(trace_key, event_id) = (SELECT trace_key, event_id FROM event WHERE batch_no = {FIRST} AND item = 1 ORDER BY 1, 2 LIMIT 1)"
COPY = (
    "INSERT INTO event SELECT trace_key, bucket, gen_random_uuid(), {batch}, project_id, item, occurred_at, received_at, trace_id, "
    f"span_id, skeleton, vals FROM event WHERE {EVENT}"
)

TRIED: dict[str, tuple[str, LiteralString]] = {
    "a byte of a skeleton": (
        "root_differs",
        f"UPDATE event SET skeleton = set_byte(skeleton, 40, 255 - get_byte(skeleton, 40)) WHERE {EVENT}",
    ),
    "a byte of values": ("field_changed", f"UPDATE event SET vals = set_byte(vals, length(vals) - 2, 65) WHERE {EVENT}"),
    "values that are none": ("unreadable", f"UPDATE event SET vals = '\\x00' WHERE {EVENT}"),
    "a time of occurrence": ("column_changed", f"UPDATE event SET occurred_at = '2020-01-01' WHERE {EVENT}"),
    "a time of receipt": ("column_changed", f"UPDATE event SET received_at = '2020-01-01' WHERE {EVENT}"),
    "the project of an event": ("column_changed", f"UPDATE event SET project_id = 0 WHERE {EVENT}"),
    "a span ID": ("column_changed", f"UPDATE event SET span_id = '\\x00' WHERE {EVENT}"),
    "an event removed": ("count_differs", f"DELETE FROM event WHERE {EVENT}"),
    "an event added": ("count_differs", COPY.format(batch=FIRST)),
    "an event of no batch": ("event_stray", COPY.format(batch="0")),
    "an event moved to another batch": ("count_differs", f"UPDATE event SET batch_no = {FIRST} + 1 WHERE {EVENT}"),
    "a batch removed with all that it held": (
        "leaf_differs",
        f"WITH a AS (DELETE FROM event WHERE batch_no = {FIRST}), p AS (DELETE FROM part WHERE batch_no = {FIRST}) "
        f"DELETE FROM batch WHERE batch_no = {FIRST}",
    ),
    "a part removed": ("part_missing", f"DELETE FROM part WHERE batch_no = {FIRST}"),
    "an event removed and its part made to fit": (
        "leaf_differs",
        f"WITH e AS (DELETE FROM event WHERE batch_no = {FIRST}) UPDATE part SET count = 0, root = sha256('') WHERE batch_no = {FIRST}",
    ),
    "the time of a batch": ("leaf_differs", f"UPDATE batch SET received_at = received_at - interval '1 day' WHERE batch_no = {FIRST}"),
    "the project of a batch": ("leaf_differs", f"UPDATE batch SET project_id = 1 WHERE batch_no = {FIRST}"),
    "the number of duplicates": ("leaf_differs", f"UPDATE batch SET duplicates = duplicates + 1 WHERE batch_no = {FIRST}"),
    "the class of a part": ("leaf_differs", f"UPDATE part SET class_version = 7 WHERE batch_no = {FIRST}"),
    "two contents swapped": (
        "content_changed",
        "WITH two AS (SELECT content_key, bytes, codec, row_number() OVER (ORDER BY content_key) n FROM content ORDER BY 1 LIMIT 2) "
        "UPDATE content c SET bytes = o.bytes, codec = o.codec FROM two m JOIN two o ON o.n = 3 - m.n WHERE c.content_key = m.content_key",
    ),
    "a content removed": ("content_missing", "DELETE FROM content WHERE content_key = (SELECT min(content_key) FROM content)"),
    "a node removed": ("content_missing", "DELETE FROM content WHERE codec = 0 AND get_byte(bytes, 0) = 220"),
    "an entry": ("checkpoint_differs", "UPDATE leaf SET entry = entry || 'x' WHERE leaf_index = 1"),
    "a leaf removed": ("leaf_missing", "DELETE FROM leaf WHERE leaf_index = 1"),
    "the last leaf removed": ("leaf_missing", "DELETE FROM leaf WHERE leaf_index = (SELECT max(leaf_index) FROM leaf)"),
    "two leaves swapped": (
        "checkpoint_differs",
        "UPDATE leaf l SET batch_no = -o.batch_no, entry = o.entry FROM leaf o WHERE l.leaf_index + o.leaf_index = 1 AND l.leaf_index < 2",
    ),
    "the root of a checkpoint": ("checkpoint_differs", "UPDATE checkpoint SET root = sha256('')"),
    "the size of a checkpoint": ("checkpoint_differs", "UPDATE checkpoint SET size = size - 1"),
    "a note": ("checkpoint_unreadable", "UPDATE checkpoint SET note = 'x'"),
    "a signature": ("signature_wrong", "UPDATE checkpoint SET note = left(note, -12) || 'AAAAAAAA' || right(note, 4)"),
    "a key": ("signature_wrong", "UPDATE log_key SET public_key = sha256(public_key)"),
    "all keys": ("key_unknown", "DELETE FROM log_key"),
    "where a key begins": ("signature_wrong", "UPDATE log_key SET from_size = 0 WHERE key_no = 2"),
    "a new key that the old one did not sign for": (
        "rotation_unvouched",
        "UPDATE checkpoint SET note = regexp_replace(note, E'\\n— [^\\n]*\\n— ', E'\\n— ') WHERE size = (SELECT max(size) FROM checkpoint)",
    ),
    "a tile of leaves that are not there": (
        "tile_stray",
        "INSERT INTO tile VALUES (0, 0, decode(repeat('00', 8192), 'hex'))",
    ),
}


@pytest.mark.parametrize("what", TRIED)
def test_a_change_of_rows_is_named(what: str, stood: Stood) -> None:
    code, statement = TRIED[what]
    with stood.owner.transaction(force_rollback=True):
        assert stood.owner.execute(statement).rowcount > 0
        found = verified(stood)
    assert code in {fault.code for fault in found.faults}, found.faults
    if what.startswith("a byte") or what == "values that are none":
        assert next(fault for fault in found.faults if fault.code in (code, "field_changed")).batch_no == stood.written[0].batch_no


def test_rows_of_an_older_state_restored_are_named_by_whoever_knows_a_later_one(stood: Stood) -> None:
    leaves = stood.sealer.leaves()
    with stood.owner.transaction(force_rollback=True):
        (old,) = stood.owner.execute("SELECT min(size) FROM checkpoint").fetchone() or (0,)
        numbers = [row[0] for row in stood.owner.execute("SELECT batch_no FROM leaf WHERE leaf_index >= %s", (old,))]
        for table in ("event", "part", "batch", "leaf"):
            stood.owner.execute(f"DELETE FROM {table} WHERE batch_no = ANY(%s)", (numbers,))
        stood.owner.execute("DELETE FROM checkpoint WHERE size > %s", (old,))
        assert verified(stood).faults == [], "a whole older state is consistent: only somebody else's memory shows it"
        found = verified(stood, pins=[Pin(len(leaves), sealing.mth(leaves), "a copy says")])
        assert [fault.code for fault in found.faults] == ["leaf_missing"]
    found = verified(stood, pins=[Pin(2, b"\0" * 32, "a copy says")])
    assert [fault.code for fault in found.faults] == ["log_rewritten"]


def test_a_part_that_the_sealer_passed_over_is_a_fault_and_one_that_it_will_come_to_is_not(stood: Stood) -> None:
    with stood.owner.transaction(force_rollback=True):
        stood.owner.execute("DELETE FROM leaf WHERE leaf_index = (SELECT max(leaf_index) FROM leaf)")
        stood.owner.execute("DELETE FROM checkpoint WHERE size = (SELECT max(size) FROM checkpoint)")
        found = verified(stood)
        assert (found.faults, found.not_sealed) == ([], 1)
        stood.owner.execute("UPDATE checkpoint SET signed_at = signed_at + interval '1 hour'")
        assert "part_not_sealed" in {fault.code for fault in verified(stood).faults}


@pytest.mark.parametrize("scope", ["batch", "trace", "range"])
def test_a_scope_is_verified_alone(scope: str, stood: Stood) -> None:
    event = stood.events(2)[0]
    asked = {
        "batch": Scope(batch_no=event.batch_no),
        "trace": Scope(session="x", trace_keys=[event.trace_key]),
        "range": Scope(since=event.received_at, until=stood.events(3)[0].received_at),
    }[scope]
    with stood.owner.transaction(force_rollback=True):
        stood.owner.execute(TRIED["an event removed"][1])  # of another batch
        found = verified(stood, asked)
        assert (found.batches, found.leaves, found.faults) == (1, 1, [])
        stood.owner.execute("UPDATE part SET class_version = 9")
        stood.owner.execute("DELETE FROM event WHERE batch_no = %s AND event_id = %s", (event.batch_no, event.event_id))
        found = verified(stood, asked)
    assert {fault.code for fault in found.faults} == {"leaf_differs", "count_differs", "root_differs"}


def test_tiles_are_compared_with_leaves_and_with_the_tiles_below(stood: Stood) -> None:
    leaves = [f"leaf {n}".encode() for n in range(600)]

    def codes() -> set[str]:
        state, faults, more = Walk(), list[Fault](), True
        while more:
            more, found = log.walk(stood.owner, state, 256, [])
            faults += found
        return {fault.code for fault in faults + log.upper_tiles(stood.owner)} - {"leaf_differs"}

    with stood.owner.transaction(force_rollback=True):
        empty(stood.owner, *sealing.TABLES)
        stood.sealer._announce(0)
        for number, leaf in enumerate(leaves):
            stood.owner.execute("INSERT INTO leaf VALUES (%s, %s, 1, %s, now())", (number, -number, leaf))
        stood.sealer.checkpoint()
        assert codes() == set()
        stood.owner.execute("UPDATE tile SET hashes = set_byte(hashes, 8000, 1 + get_byte(hashes, 8000) % 9) WHERE tile_no = 1")
        assert codes() == {"tile_differs"}
        stood.owner.execute("DELETE FROM tile WHERE tile_no = 1")
        assert codes() == {"tile_missing"}
        tiles = [bytes([n]) * 8192 for n in range(256)]
        above = b"".join(perfect([tile[:32]] * 256) for tile in tiles)
        stood.owner.execute("TRUNCATE tile")
        with stood.owner.cursor() as cursor:
            cursor.executemany("INSERT INTO tile VALUES (0, %s, %s)", list(enumerate(tiles)))
        stood.owner.execute("INSERT INTO tile VALUES (1, 0, %s)", (above,))
        assert {fault.code for fault in log.upper_tiles(stood.owner)} == {"tile_stray"}
        stood.owner.execute("UPDATE tile SET hashes = set_byte(hashes, 9, 7) WHERE level = 0 AND tile_no = 200")
        assert {fault.code for fault in log.upper_tiles(stood.owner)} == {"tile_stray", "tile_differs"}


def perfect(hashes: list[bytes]) -> bytes:
    """Root of a complete tree over hashes of leaves."""
    half = len(hashes) // 2
    return hashes[0] if not half else sealing.sha256(b"\x01" + perfect(hashes[:half]) + perfect(hashes[half:]))


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("verify", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_keeps_what_it_found_and_goes_on_where_it_was_interrupted(stood: Stood, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditlog.verify.whole.EVENTS", 20)
    row = verifications.begin(Scope())
    assert not verifications.go_on(row, seconds=0.0001) and row.progress is not None
    said = command()
    assert f"Going on with verification {row.pk}" in said and "withheld" in said
    row.refresh_from_db()
    assert row.finished_at is not None and (row.fault_count, row.faults, row.progress) == (0, [], None)
    assert row.log_size == len(stood.sealer.leaves()) and not row.cut_short
    assert "1 batches" in command("--batch", str(stood.written[0].batch_no))
    with pytest.raises(CommandError, match="no session"):
        command("--session", "nobody")


def test_the_command_fails_and_says_what_is_wrong(stood: Stood, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditlog.verify.whole.MOST_FAULTS", 1)
    batch = stood.written[0].batch_no
    stood.owner.execute("UPDATE batch SET duplicates = duplicates + 1 WHERE batch_no < %s", (batch + 3,))
    out = io.StringIO()
    try:
        with pytest.raises(CommandError, match="Something is wrong"):
            call_command("verify", stdout=out)
    finally:
        stood.owner.execute("UPDATE batch SET duplicates = duplicates - 1 WHERE batch_no < %s", (batch + 3,))
    assert f"leaf_differs  batch {batch}" in out.getvalue() and "CUT SHORT: 3 faults" in out.getvalue()


def test_an_earlier_verification_remembers_the_log(stood: Stood) -> None:
    command()
    Verification.objects.update(log_root=b"\0" * 32)
    with pytest.raises(CommandError, match="Something is wrong"):
        command()
    assert Verification.objects.latest("started_at").faults[0]["code"] == "log_rewritten"


def test_two_processes_do_not_work_on_one_verification(stood: Stood) -> None:
    row = verifications.begin(Scope())
    with connecting.connect("web", autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(7211, %s)", (row.pk,))
        with pytest.raises(CommandError, match="another process"):
            command()


def test_once_a_day_a_job_verifies_everything_and_the_metrics_tell(stood: Stood, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "hint", lambda _: None)
    monkeypatch.setenv("AUDITLOG_VERIFY_PAUSE", "1")  # after each bucket, of which other tests leave some
    tasks.verify_when_due()
    tasks.verify_when_due()
    (job,) = Job.objects.filter(kind="verify")
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == "done" and job.result == {"verification": Verification.objects.get().pk, "finished": True, "faults": 0}
    tasks.verify_when_due()
    assert Job.objects.filter(kind="verify").count() == 1
    values: dict[str, Any] = gauges.read()
    assert "auditlog.verification.age" not in values, "it is not committed in this test"
    stood.owner.execute(
        "INSERT INTO verification (scope, started_at, finished_at, counts, faults, fault_count) "
        "VALUES (%s, now(), now() - interval '1 hour', '{}', '[]', 3)", (msgspec.json.encode(Scope()).decode(),),
    )  # fmt: skip
    try:
        values = gauges.read()
    finally:
        stood.owner.execute("DELETE FROM verification")
    assert 3600 <= values["auditlog.verification.age"] < 3700 and values["auditlog.verification.faults"] == 3
