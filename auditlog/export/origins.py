"""Owns the proof of what came from another installation: its papers, as they were recorded here, against the events as they are here.

For each export that was imported: the checkpoint is signed by a key of its papers, each leaf's path leads to it, and the digests of the
events that are here, computed again from their skeletons, give the root or lie on the path that the leaf stands for. What is not here any
more, because it was withheld there or disposed of since, is counted.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec
import psycopg

from auditlog.derive.models import AccessLog
from auditlog.export.incoming import PROTOCOL, Paper
from auditlog.item import Rest
from auditlog.search import evidence
from auditlog.search.scope import Scope
from auditlog.store.reader import digests_of_part, split_id
from auditlog.verify.standalone import ENTRY, Wrong, included, merkle_root, read_checkpoint, signed_by, unbase64

_AT_ONCE: Final = 50  # papers read at once
_PARTS: Final = (
    "SELECT p.root, p.batch_no, p.bucket FROM part p JOIN batch b USING (batch_no) "
    "WHERE b.project_id = %s AND b.protocol = %s AND p.count > 0 ORDER BY 2, 3"
)
_EVENT: Final = "SELECT skeleton FROM event WHERE trace_key = %s AND event_id = %s AND project_id = %s LIMIT 1"


class Origin(NamedTuple):
    """One imported export. origin: name of the log that sealed it; size: leaves of its checkpoint; proven: events that are here and lie in
    it; absent: that were in the export's parts and are not here; faults: what contradicts, in words."""

    manifest: str
    origin: str
    size: int
    proven: int
    absent: int
    faults: list[str]


def check(conn: psycopg.Connection[Any], scope: Scope) -> list[Origin]:
    """Every import of a project, in the order of their manifests' digests. The background pass has to have seen their records."""
    papers: dict[str, dict[str, list[tuple[int, str]]]] = defaultdict(lambda: defaultdict(list))
    for public, paper in _papers(scope):
        papers[paper.manifest][paper.file].append((paper.piece, public))
    here: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for root, batch_no, bucket in conn.execute(_PARTS, (scope.project_id, PROTOCOL)):
        here[bytes(root)].append((bucket, batch_no))
    return [_Checking(conn, scope, here, papers[manifest]).check(manifest) for manifest in sorted(papers)]


def _papers(scope: Scope) -> Iterator[tuple[str, Paper]]:
    """(public ID, what it says) of all papers of a project."""
    rows = list(scope.of(AccessLog).filter(action="import.origin").order_by("trace_key", "event_id").values_list("trace_key", "event_id"))
    for start in range(0, len(rows), _AT_ONCE):
        for stored in evidence.by_keys(scope, rows[start : start + _AT_ONCE]):
            assert isinstance(stored.item, Rest)
            (about,) = (raw for name, raw in stored.item.members if name == "about")
            yield stored.id, msgspec.json.decode(about, type=Paper)


class _Checking:
    """One import. `pieces`: of each paper its pieces' numbers and the records that hold them."""

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        scope: Scope,
        here: dict[bytes, list[tuple[int, int]]],
        pieces: dict[str, list[tuple[int, str]]],
    ) -> None:
        self._conn, self._scope, self._here, self._pieces = conn, scope, here, pieces
        self._proven = self._absent = 0
        self._faults: list[str] = []

    def check(self, manifest: str) -> Origin:
        origin, size, root = "unknown", 0, b""
        try:
            checkpoint = read_checkpoint("".join(self._text("checkpoint.txt")))
            origin, size, root = checkpoint.origin, checkpoint.size, checkpoint.root
            keys = json.loads("".join(self._text("keys.json")))
            if not any(signed_by(checkpoint, key["name"], unbase64(key["public_key"])) for key in keys):
                self._faults.append("its checkpoint is not signed by a key of its papers")
        except (Wrong, ValueError, KeyError) as error:
            self._faults.append(f"its papers cannot be read: {error}")
        for line in self._lines("parts.jsonl") if root else ():
            self._part(json.loads(line), size, root)
        return Origin(manifest, origin, size, self._proven, self._absent, self._faults)

    def _text(self, name: str) -> Iterator[str]:
        """The pieces of a paper, one after the other. Raises ValueError where one is missing."""
        pieces = sorted(self._pieces.get(name, []))
        if [number for number, _ in pieces] != list(range(len(pieces))) or not pieces:
            raise ValueError(f"{name} is not there as a whole")
        for _, public in pieces:
            (stored,) = evidence.by_ids(self._scope, [public])
            assert isinstance(stored.item, Rest)
            (about,) = (raw for member, raw in stored.item.members if member == "about")
            yield msgspec.json.decode(about, type=Paper).text

    def _lines(self, name: str) -> Iterator[str]:
        """A piece ends with a line."""
        try:
            for text in self._text(name):
                yield from text.splitlines()
        except ValueError as error:
            self._faults.append(str(error))

    def _part(self, line: dict[str, Any], size: int, root: bytes) -> None:
        found = ENTRY.fullmatch(line["entry"])
        path = [bytes.fromhex(step) for step in line["path"]]
        if found is None or not included(line["entry"].encode(), line["index"], size, path, root):
            self._faults.append(f"the path of leaf {line['index']} does not lead to the checkpoint")
            return
        count, part = int(found["count"]), bytes.fromhex(found["root"])
        proven = self._whole(count, part) if line["whole"] else self._some(line, count, part)
        self._proven += proven
        self._absent += count - proven

    def _whole(self, count: int, root: bytes) -> int:
        """A part that came with all of its events is one part here, with the same root."""
        for bucket, batch_no in self._here.get(root, [])[:1]:
            rows = digests_of_part(self._conn, bucket, batch_no)
            if merkle_root([digest for *_, digest in rows]) != root:
                self._faults.append(f"batch {batch_no} here is not what was sealed there: the digests do not give its root")
                return 0
            return sum(trace_key is not None for trace_key, *_ in rows)
        return 0

    def _some(self, line: dict[str, Any], count: int, root: bytes) -> int:
        proven = 0
        for public, place in line["events"].items():
            row = self._conn.execute(_EVENT, (*(split_id(public) or ()), self._scope.project_id)).fetchone()
            if row is None:
                continue
            digest = hashlib.sha256(bytes(row[0])).digest()
            if included(digest, place["index"], count, [bytes.fromhex(step) for step in place["path"]], root):
                proven += 1
            else:
                self._faults.append(f"event {public} is not the one that was sealed there")
        return proven
