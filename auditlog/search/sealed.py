"""Owns how an event is proven by the log: from its digest to the root of its part, from the part's leaf to a signed checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection

from auditlog.derive import leaves
from auditlog.errors import Problem
from auditlog.proof import leaf, merkle, note
from auditlog.seal import sql
from auditlog.seal.log import Contradiction, Head, Log, Memory, Sealed
from auditlog.seal.standing import Sealers, Unsealed, sealers, unsealed
from auditlog.search import cursor, evidence, parameters
from auditlog.search.scope import Scope
from auditlog.store.reader import leaves_of_part, split_id

_memory: Final = Memory()  # for all requests

_PLACE: Final = (
    "SELECT bucket, batch_no, item, sha256(skeleton) FROM event WHERE bucket IN ({buckets}) AND trace_key = %s AND event_id = %s "
    "AND project_id = %s ORDER BY received_at, batch_no LIMIT 1"
)


class Proof(NamedTuple):
    """What proves one event. part_path leads from its digest, the part_index-th of its part, to the root that the leaf's entry names."""

    digest: bytes
    part: leaf.Leaf
    part_index: int
    part_path: list[bytes]
    sealed: Sealed


class LogKey(NamedTuple):
    """A key that signs checkpoints from a size on, until the next."""

    key: note.Key
    created_at: datetime
    from_size: int


class Anchor(NamedTuple):
    """What was said elsewhere of a checkpoint."""

    kind: str
    name: str
    anchored_at: datetime


class Checkpoints(NamedTuple):
    """A page of checkpoints, newest first, each with its anchors."""

    rows: list[tuple[Head, list[Anchor]]]
    next: str | None


def log(*, remembering: bool = True) -> Log:
    """remembering: for whoever checks what comes of it against the signed root, as Log.sealed does."""
    return Log(evidence.raw_connection(), _memory if remembering else None)


def proof(scope: Scope, public: str) -> Proof:
    """Of an event received twice: as it was first. Raises Problem("not_found", "not_sealed_yet", "log_contradicted")."""
    bucket, batch_no, digest = _place(scope, public)
    found = _sealed(batch_no, bucket)
    if found is None:
        message = "This event is stored and not sealed in the log yet; the sealer does so within seconds. Ask again."
        raise Problem("not_sealed_yet", message, retry_after=1, detail={"batch": str(batch_no)})
    part = leaf.read(found.entry)
    for digests in _leaves(scope, part, digest):
        index = digests.index(digest) if digest in digests else 0
        path = merkle.inclusion(digests, index) if digests else []
        if len(digests) == part.events and merkle.included(digest, index, part.events, path, part.root):
            return Proof(digest, part, index, path, found)
    raise contradicted(f"the stored events of batch {batch_no} are not those that were sealed")


def place_in_log(batch_no: int, bucket: int) -> tuple[int, Head] | None:
    """Index of a part's leaf, and the first checkpoint that covers it; None: not sealed yet."""
    row = evidence.raw_connection().execute(sql.PLACE, (batch_no, bucket)).fetchone()
    return None if row is None else (int(row[0]), Head(int(row[1]), bytes(row[2]), str(row[3]), row[4]))


def checkpoints(given: dict[str, str], default: str | None = None) -> Checkpoints:
    """Raises Problem("parameter_invalid")."""
    parameters.only(given, parameters.PAGED)
    count = parameters.limit(given.get("limit") or default)
    before = 2**63 - 1
    if given.get("cursor"):
        size = cursor.decode(given["cursor"])[1]
        if not size.isascii() or not size.isdigit() or len(size) > 18:
            raise parameters.invalid("cursor", "is none that this service gave out. Start again without it.")
        before = int(size)
    conn = evidence.raw_connection()
    rows = [Head(int(size), bytes(root), text, at) for size, root, text, at in conn.execute(sql.CHECKPOINTS, (before, count + 1))]
    shown = rows[:count]
    anchors = _anchors([head.size for head in shown])
    following = cursor.encode(shown[-1].signed_at, str(shown[-1].size)) if len(rows) > count else None
    return Checkpoints([(head, anchors.get(head.size, [])) for head in shown], following)


def signing_keys() -> list[LogKey]:
    """Every key that ever signed, the first one first."""
    rows = evidence.raw_connection().execute(sql.KEYS)
    return [LogKey(note.Key(name, bytes(public)), at, int(size)) for name, public, at, size in rows]


def standing(project_id: int | None = None) -> tuple[Unsealed, Sealers]:
    """How far the log is behind, and whether anybody seals."""
    with connection.cursor() as found:
        return unsealed(found, project_id), sealers(found)


def contradicted(what: str) -> Problem:
    return Problem("log_contradicted", f"There is no proof, because {what}. Something was changed: run manage.py verify.")


def _sealed(batch_no: int, bucket: int) -> Sealed | None:
    try:
        return log().sealed(batch_no, bucket)
    except Contradiction as error:
        raise contradicted(str(error)) from error


def _leaves(scope: Scope, part: leaf.Leaf, digest: bytes) -> Iterator[list[bytes]]:
    """The digests of a part's events as they are kept for this; where those lead to no root, of the events themselves.

    The events are looked for by batch, which takes the longer the more a bucket holds (docs/adr/002).
    """
    conn = evidence.raw_connection()
    yield [digest] if part.events == 1 else leaves.kept(conn, scope.edition, part.batch, part.bucket)
    yield leaves_of_part(conn, part.bucket, part.batch)


def _place(scope: Scope, public: str) -> tuple[int, int, bytes]:
    """Bucket and batch of an event of the project, and its digest as it is stored."""
    ids, buckets = split_id(public), evidence.buckets()
    row: Any = None
    if ids is not None and buckets:
        query = _PLACE.format(buckets=", ".join(map(str, buckets)))
        row = evidence.raw_connection().execute(query, (*ids, scope.project_id)).fetchone()
    if row is None:
        raise Problem("not_found", "There is no event of this ID in this project.")
    return int(row[0]), int(row[1]), bytes(row[3])


def _anchors(sizes: Sequence[int]) -> dict[int, list[Anchor]]:
    found: dict[int, list[Anchor]] = {}
    for size, kind, name, at in evidence.raw_connection().execute(sql.ANCHORS, (list(sizes),)):
        found.setdefault(int(size), []).append(Anchor(kind, name, at))
    return found
