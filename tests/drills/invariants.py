"""Owns what must hold after every fault, as code: one examination of the whole trail against the ledger of the senders.

acknowledged ⊆ stored ⊆ sent, each once, each attribute as sent; every digest and root computed again from the bytes (auditlog.verify);
every receipt that a sender holds names a batch of that root and count; every batch was seen by the background pass, and derived data
computed again from evidence is equal (`manage.py rebuild --check`); the log holds each part once, in order, under roots that were signed.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any, NamedTuple

import psycopg

from auditlog.proof import checkpoint, leaf, merkle, note, tree
from auditlog.store.reader import Reader, Secrets
from auditlog.verify.batches import Checker
from tests.drills.ledger import Ledger, digest
from tests.service import ROOT, Service

_STORED = "SELECT span_id, max(n)::int FROM (SELECT span_id, count(*) AS n FROM event WHERE item = 1 GROUP BY bucket, span_id) b GROUP BY 1"
_UNSEEN = """
    SELECT count(*) FROM batch b WHERE b.protocol <> 5
      AND NOT EXISTS (SELECT FROM derived d JOIN edition e ON e.number = d.edition AND e.state = 'current' WHERE d.batch_no = b.batch_no)"""
_BATCHES = """
    SELECT b.batch_no, encode(b.receipt_root, 'hex'), b.acknowledged, b.duplicates = 0 AND b.receipt_root <> p.root
    FROM batch b LEFT JOIN part p USING (batch_no) WHERE b.protocol <> 5"""


_LEAVES = """
    SELECT l.leaf_index, l.entry, p.batch_no, p.bucket, b.project_id, b.received_at, p.count, p.root, b.acknowledged, b.duplicates,
           b.receipt_root, p.class_version
    FROM leaf l JOIN part p USING (batch_no, bucket) JOIN batch b USING (batch_no) ORDER BY l.leaf_index"""
_IN_ORDER = "SELECT l.batch_no FROM leaf l JOIN batch b USING (batch_no) ORDER BY b.xid, l.batch_no, l.bucket"


class Broken(AssertionError):
    """Something that must hold did not. Only this counts as having seen a drill fail."""


def hold(condition: object, what: str) -> None:
    if not condition:
        raise Broken(what)


class Findings(NamedTuple):
    """Numbers of one examination; all but the first three must be 0."""

    sent: int
    acknowledged: int
    stored: int
    lost: int  # acknowledged and not stored
    doubled: int  # stored more than once in one bucket
    strangers: int  # stored and never sent
    altered: int  # stored otherwise than sent
    contradictions: int  # found by auditlog.verify: digests, roots, counts
    receipts: int  # that name a batch which is not there, or is another
    unseen: int  # batches that the background pass has not seen
    log: int  # leaves that are not the part that they name, or not in their place; checkpoints that their leaves do not lead to

    def __str__(self) -> str:
        return ", ".join(f"{name} {number:,}" for name, number in self._asdict().items() if number or name in ("lost", "doubled"))


def examine(conn: psycopg.Connection[Any], secrets: Secrets, ledger: Ledger) -> Findings:
    """Reads everything that is stored, and trusts nothing but the bytes."""
    stored = {bytes(span_id): times for span_id, times in conn.execute(_STORED)}
    batches = {number: (root, count, differs) for number, root, count, differs in conn.execute(_BATCHES)}
    numbers = sorted(batches)
    altered = 0
    for start in range(0, len(numbers), 200):
        for event in Reader(conn, secrets).events_of_batches(numbers[start : start + 200]):
            attributes = {key: value for key, _, value in event.item.attributes}  # type: ignore[union-attr]
            altered += ledger.sent.get(event.item.span_id) not in (None, digest(attributes))  # type: ignore[union-attr]
    return Findings(
        sent=len(ledger.sent),
        acknowledged=len(ledger.acknowledged),
        stored=len(stored),
        lost=len(ledger.acknowledged - stored.keys()),
        doubled=sum(times > 1 for times in stored.values()),
        strangers=len(stored.keys() - ledger.sent.keys()),
        altered=altered,
        contradictions=_contradictions(conn, numbers, secrets),
        receipts=sum(batches.get(one.batch) != (one.root, one.events, False) for one in ledger.receipts),
        unseen=unseen(conn),
        log=log_contradictions(conn),
    )


def _contradictions(conn: psycopg.Connection[Any], numbers: list[int], secrets: Secrets) -> int:
    """In all tables, also where no part says that something is; many at a time, or 20,000 batches take an hour."""
    checker, at_once = Checker(conn, secrets), 200
    return sum(len(checker.check(numbers[start : start + at_once], everywhere=True).faults) for start in range(0, len(numbers), at_once))


def unseen(conn: psycopg.Connection[Any]) -> int:
    """Batches of all projects that the background pass has not consumed."""
    (count,) = conn.execute(_UNSEEN).fetchone() or (0,)
    return int(count)


def log_contradictions(conn: psycopg.Connection[Any]) -> int:
    """The log computed again from the batches: what each leaf should say, the order of transactions, every root and every signature."""
    keys = [note.Key(name, bytes(public)) for name, public in conn.execute("SELECT name, public_key FROM log_key")]
    rows = conn.execute(_LEAVES).fetchall()
    edge, wrong, at = tree.Edge(), 0, 0
    for number, (index, entry, *said) in enumerate(rows):
        batch, bucket, project, received, count, root, acknowledged, duplicates, receipt, version = said
        expected = leaf.Leaf(batch, bucket, project, received, count, bytes(root), acknowledged, duplicates, bytes(receipt), version)
        wrong += index != number or bytes(entry) != leaf.entry(expected)
    wrong += [row[2] for row in rows] != [row[0] for row in conn.execute(_IN_ORDER)]
    for size, root, text in conn.execute("SELECT size, root, note FROM checkpoint ORDER BY size"):
        edge.append(merkle.leaf_hash(bytes(row[1])) for row in rows[at:size])
        at = size
        signed = checkpoint.read(note.open_note(text, keys).text)
        wrong += not (edge.size == signed.size == size and edge.root() == signed.root == bytes(root))
    return wrong + abs(len(rows) - at)


def everything_holds(found: Findings) -> None:
    hold(not any(found[3:]), str(found))


def rebuilt_is_equal(service: Service) -> None:
    """Derived data computed again from evidence, beside what is there, and compared in every table."""
    command = [sys.executable, str(ROOT / "manage.py"), "rebuild", "--check"]
    env = service.env | {"DATABASE_URL": (service.data / "database-url").read_text().strip()}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=3600)
    hold(done.returncode == 0, f"rebuild --check: {done.stdout.strip()} {done.stderr.strip()}")
