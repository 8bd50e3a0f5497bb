"""Owns which timestamps an export holds, and what goes with them: the checkpoint each is of, and what leads on from there to the export's.

Of each authority the newest, and the first that covers all of the scope, which bounds best when it was there.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from auditlog.export.files import Files
from auditlog.proof import tree
from auditlog.seal.log import Log

# A name is part of a file's name: none but those that the setting allows.
_KEPT: Final[LiteralString] = "FROM anchor WHERE kind = 'timestamp' AND name ~ '^[a-z0-9][a-z0-9.-]{0,62}$'"
_NEWEST: Final[LiteralString] = f"SELECT size, root, note FROM checkpoint WHERE size = (SELECT max(size) {_KEPT})"
_CHOSEN: Final[LiteralString] = f"""
    (SELECT DISTINCT ON (name) name, size {_KEPT} AND size <= %(size)s ORDER BY name, size DESC) UNION
    (SELECT DISTINCT ON (name) name, size {_KEPT} AND size <= %(size)s AND size > %(last)s ORDER BY name, size) ORDER BY name, size"""
_ONE: Final[LiteralString] = """
    SELECT a.proof, a.anchored_at, c.note FROM anchor a JOIN checkpoint c ON c.size = a.size
    WHERE a.kind = 'timestamp' AND a.name = %s AND a.size = %s"""


class Stamp(NamedTuple):
    name: str
    size: int
    at: datetime


def newest(conn: psycopg.Connection[Any]) -> list[tuple[int, bytes, str]]:
    """(size, root, note) of the newest checkpoint that is timestamped, if one is."""
    return [(int(size), bytes(root), str(note)) for size, root, note in conn.execute(_NEWEST)]


def choose(conn: psycopg.Connection[Any], size: int, last: int) -> list[tuple[str, int]]:
    """(name of the authority, size) of what an export at a size holds. last: the last leaf of its scope."""
    return [(str(name), int(of)) for name, of in conn.execute(_CHOSEN, {"size": size, "last": last})]


def write(conn: psycopg.Connection[Any], files: Files, chosen: list[tuple[str, int]], size: int, head: str) -> list[Stamp]:
    """size, head: of the export's checkpoint."""
    stamps = []
    for name, of in chosen:
        for proof, at, note in conn.execute(_ONE, (name, of)):
            stamps.append(Stamp(name, of, at))
            files.write(f"timestamps/{name}-{of}.tsr", bytes(proof))
            files.write(f"timestamps/checkpoint-{of}.txt", note.encode())
        if of < size:  # as a log shows it to a witness: C2SP tlog-witness
            path = "".join(f"{b64encode(one).decode()}\n" for one in tree.consistency(of, size, Log(conn).nodes(size)))
            files.write(f"timestamps/consistency-{of}.txt", f"old {of}\n{path}\n{head}".encode())
    return stamps
