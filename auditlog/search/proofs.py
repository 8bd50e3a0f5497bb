"""Owns what a session's evidence can be checked by: each record's digest, its batch with count and root, and whether they agree now."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from typing import Final, NamedTuple

from auditlog.derive.projects import ProjectSecrets
from auditlog.derive.read import SessionFacts
from auditlog.proof import canonical
from auditlog.search import evidence
from auditlog.store import fields, unpack
from auditlog.store.reader import public_id
from auditlog.verify.batches import check_batch

MOST_RECORDS: Final = 2_000  # listed; the first that happened
MOST_CHECKED: Final = 1_000  # events of batches that are computed again for one question
LONGEST: Final = 5.0  # seconds for the same
FAULTS: Final = {
    "field_changed": "values are not those that were stored",
    "column_changed": "an identifier contradicts the record",
    "content_missing": "content of a record is not there",
    "content_changed": "content of a record is not what was stored",
    "root_differs": "the digests do not give the root that was acknowledged",
    "count_differs": "the number of records is not the one that was acknowledged",
    "unreadable": "a record cannot be read",
    "part_missing": "what was acknowledged of it is not there any more",
    "event_stray": "a record lies where none was acknowledged",
    "project_unknown": "a record names a project that does not exist",
    "certificate_missing": "records are gone without a certificate",
}


class Record(NamedTuple):
    """One stored event. `withheld`: names of the fields whose values were erased or are restricted; its digest is none the worse for it."""

    id: str
    received_at: datetime
    digest: str
    batch: int
    withheld: tuple[str, ...]


class Batch(NamedTuple):
    """One accepted request, or its part of one period. `agrees` None: there were too many to compute all of them again."""

    number: int
    received_at: datetime
    size: int
    root: str
    mine: int  # records of this session in it
    agrees: bool | None


class Proofs(NamedTuple):
    records: list[Record]
    batches: list[Batch]
    more: bool  # the session has more records than are listed
    faults: list[str]


def proofs(facts: SessionFacts) -> Proofs:
    """The records of a session and what their batches promised, computed again as far as the bounds allow."""
    reader = evidence.reader()
    rows = reader.shown(reader.rows_of_traces(facts.project_id, facts.trace_keys, MOST_RECORDS + 1))
    listed = [
        Record(public_id(row[0], row[1]), row[5], canonical.digest(bytes(row[7])).hex(), row[3], _withheld(bytes(row[7]), bytes(row[8])))
        for row in rows[:MOST_RECORDS]
    ]
    mine = Counter((row[3], row[2]) for row in rows[:MOST_RECORDS])
    agree, faults = _checked(sorted({number for number, _ in mine}))
    found = evidence.raw_connection().execute(
        "SELECT p.batch_no, p.bucket, b.received_at, p.count, p.root FROM part p JOIN batch b USING (batch_no) "
        "WHERE p.batch_no = ANY(%s) ORDER BY p.batch_no, p.bucket",
        (sorted({number for number, _ in mine}),),
    )
    batches = [
        Batch(number, at, count, bytes(root).hex(), mine[number, bucket], agree.get(number))
        for number, bucket, at, count, root in found
        if (number, bucket) in mine
    ]
    return Proofs(listed, batches, len(rows) > MOST_RECORDS, faults)


def _withheld(skeleton: bytes, values: bytes) -> tuple[str, ...]:
    verdicts = unpack.check(unpack.parse(skeleton, values))
    return tuple(fields.NAMES.get(field, str(field)) for field, verdict in verdicts.items() if verdict == "withheld")


def _checked(numbers: list[int]) -> tuple[dict[int, bool], list[str]]:
    """Batch to whether everything in it is as it was acknowledged, and what is wrong. A batch that is not there was not checked."""
    conn = evidence.raw_connection()
    counts = dict(conn.execute("SELECT batch_no, sum(count) FROM part WHERE batch_no = ANY(%s) GROUP BY 1", (numbers,)).fetchall())
    secrets = ProjectSecrets(conn)
    agree: dict[int, bool] = {}
    faults: list[str] = []
    left, until = MOST_CHECKED, time.monotonic() + LONGEST
    for number in numbers:
        left -= int(counts.get(number, 0))
        if left < 0 or time.monotonic() > until:
            break
        found = check_batch(conn, number, secrets)
        agree[number] = not found
        faults += [f"batch {number}: {FAULTS[fault.code]}{f' (record {fault.event})' if fault.event else ''}" for fault in found]
    return agree, faults
