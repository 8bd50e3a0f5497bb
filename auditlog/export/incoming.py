"""Owns how an export folder comes back into an installation: the same events under the same IDs, and the papers of their origin as records.

What is stored of an event (skeleton, values, contents) is taken over byte for byte, so that its digest stays what was sealed there. Each
part of a batch becomes a batch of its own, received when it was received there, and is sealed here once more. Checkpoint, keys, paths and
certificates of the origin are recorded verbatim as events of the service: they are sealed, exported and found as those are, and
`origins.py` proves with them what the origin's log says of the events that are here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import psycopg

from auditlog.errors import Problem
from auditlog.store import fields
from auditlog.store.pack import Longs, Packed
from auditlog.store.partitions import bucket_at
from auditlog.store.writer import Project, Writer
from auditlog.verify import standalone
from auditlog.verify.standalone import EPOCH, Wrong, microseconds, read_event, read_json, unbase64

PROTOCOL: Final = 7  # column batch.protocol: an export folder
PAPERS: Final = (
    "checkpoint.txt", "keys.json", "rotations.txt", "withheld.jsonl", "certificates/dispositions.jsonl", "certificates/erasures.jsonl",
    "parts.jsonl",
)  # fmt: skip
_PAPER: Final = 256 * 1024  # characters of a paper in one record, unless one line has more


class Counts(msgspec.Struct):
    """Events and batches; `there`: events that were stored before. papers: records of what the origin says."""

    events: int = 0
    there: int = 0
    batches: int = 0
    papers: int = 0


class Paper(msgspec.Struct, frozen=True):
    """A piece of a file of the origin, as it is recorded: the pieces one after the other are the file. manifest: its SHA-256 in hex, which
    names the export. foreign: records among the events that tell of dispositions there, which are none here."""

    manifest: str
    file: str
    piece: int
    text: str = ""
    foreign: list[str] = []


class Told(NamedTuple):
    """What a person has to know before anything is stored."""

    manifest: dict[str, Any]
    manifest_sha256: str
    events: int
    first: datetime | None  # received
    last: datetime | None
    notes: list[str]


class Incoming:
    """One folder, verified when this is made. Raises Problem("export_wrong") naming the first faults, OSError."""

    def __init__(self, folder: Path, keys: Sequence[str] = ()) -> None:
        self._export = standalone.Export(str(folder))
        self._folder = folder
        try:
            self._export.check([standalone.read_key(key) for key in keys], None)
            self._refuse()
        except (Wrong, UnicodeError) as error:
            self.close()
            raise Problem("export_wrong", f"{folder} is no export that can be read: {error}") from error
        except (Problem, OSError):
            self.close()
            raise

    def _refuse(self) -> None:
        found = self._export.faults
        if found:
            named = "; ".join(f"{one.code} {one.where}: {one.message}" for one in found[:5])
            more = len(found) + self._export.more - 5
            rest = f"; and {more} more" if more > 0 else ""
            raise Problem("export_wrong", f"Nothing was stored: {named}{rest}. verify.py tells all of it.")
        if not self._export.signature_checked:
            raise Problem("export_wrong", "Nothing was stored: the signature could not be checked, cryptography is not installed.")

    def close(self) -> None:
        self._export.close()

    def told(self) -> Told:
        first, last = self._export.db.execute("SELECT min(received), max(received) FROM events").fetchone()
        export = self._export
        return Told(
            export.manifest, export.manifest_sha, export.done["events"], first and _moment(first), last and _moment(last), export.notes
        )

    def keys(self) -> list[str]:
        """Names of the logs that sealed it."""
        keys = self._export.keys()
        return [name for name, *_ in keys]

    def papers(self) -> Iterator[Paper]:
        """What is to be recorded before anything else: then no event is ever here without what proves it."""
        sha = self._export.manifest_sha
        rows = self._export.db.execute("SELECT event FROM recorded ORDER BY event").fetchall()
        for piece, start in enumerate(range(0, len(rows), 1000)):
            yield Paper(sha, "foreign", piece, foreign=[event for (event,) in rows[start : start + 1000]])
        for name in PAPERS:
            if name in self._export.there:
                with (self._folder / name).open(encoding="utf-8", newline="") as file:
                    piece = 0
                    while lines := file.readlines(_PAPER):
                        yield Paper(sha, name, piece, "".join(lines))
                        piece += 1

    def store(self, writer: Writer, project: Project, tell: Callable[[Counts], None] = lambda _: None) -> Counts:
        """Stores each part of a batch in a transaction of its own; what is there is left alone, so that an interrupted import goes on.

        Raises Problem("state_conflict") for a period that takes nothing any more, and what the writer raises.
        """
        counts = Counts()
        lines = (read_json(line) for _, line in self._export.lines("events"))
        for (_, _, received), group in groupby(lines, key=lambda line: (line["batch"], line["bucket"], line["received_at"])):
            packed = [self._packed(line) for line in group]
            at = _moment(received)
            if writer.has(project, packed, at):
                counts.there += len(packed)
            else:
                written = writer.put(project, packed, key_id=None, protocol=PROTOCOL, received_at=at)
                counts.batches += 1
                counts.there += written.duplicates
            counts.events += len(packed)
            tell(counts)
        return counts

    def _packed(self, line: dict[str, Any]) -> Packed:
        skeleton, vals = unbase64(line["skeleton"]), unbase64(line["vals"])
        event = read_event(skeleton, vals)
        longs: Longs = []
        shared: Longs = []
        for field, sha, node in event.references:
            self._gather(sha, node, shared if field in fields.SHARED else longs)
        occurred = None if line["occurred_at"] is None else microseconds(line["occurred_at"]) * 1000
        return Packed(
            bytes.fromhex(line["id"][:32]), bytes.fromhex(line["id"][32:]), line["item"], occurred, bytes.fromhex(line["trace_id"] or ""),
            bytes.fromhex(line["span_id"] or ""), skeleton, vals, hashlib.sha256(skeleton).digest(), event.prefix, longs, shared,
        )  # fmt: skip

    def _gather(self, sha: bytes, node: bool, into: Longs) -> None:
        """A content, and what it leads to."""
        todo = [(sha, node)]
        while todo:
            sha, node = todo.pop()
            data = self._export.content_of(sha)
            if data is None:  # the check has seen it: the folder is being changed
                raise Problem("export_wrong", f"Content {sha.hex()} is not in {self._folder} any more. What was stored stays.")
            into.append((sha, data))
            todo += standalone.node_refers(data) if node else ()


def due(project: Project, told: Told, days: int, now: datetime) -> datetime | None:
    """The end of the oldest period of the folder where a class of so many days would have been disposed of already; None: it would not."""
    if told.first is None:
        return None
    ends = bucket_at(project.class_no, project.period, told.first).ends
    return ends if ends + timedelta(days=days) <= now else None


def own(conn: psycopg.Connection[Any], keys: Sequence[str]) -> bool:
    """Whether a log of this installation sealed the export."""
    row = conn.execute("SELECT EXISTS (SELECT FROM log_key WHERE name = ANY(%s))", (list(keys),)).fetchone()
    return bool(row and row[0])


def _moment(text: str) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds(text))
