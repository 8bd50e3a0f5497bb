"""Owns the check of the timestamps that are kept: each is over the checkpoint of its size, of the time in its row, and rightly signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from cryptography.x509 import Certificate

from auditlog.proof import timestamp
from auditlog.verify.batches import Fault

Trusted = Mapping[str, Sequence[Certificate]]
"""The root certificates of each authority that is known, by its name."""

_KEPT: Final[LiteralString] = """
    SELECT a.size, a.name, a.proof, a.anchored_at, c.note FROM anchor a LEFT JOIN checkpoint c ON c.size = a.size
    WHERE a.kind = 'timestamp' AND a.size >= %s AND a.size < %s ORDER BY a.size, a.name"""


class Checked(NamedTuple):
    """unchecked: of an authority that nobody named, so that the signature was not looked at."""

    total: int
    unchecked: int
    faults: list[Fault]


def check(conn: psycopg.Connection[Any], first: int, end: int, trusted: Trusted) -> Checked:
    """Of checkpoints of `first` leaves and more, below `end`."""
    total, unchecked, faults = 0, 0, []
    for size, name, proof, at, note in conn.execute(_KEPT, (first, end)):
        total, unchecked = total + 1, unchecked + (name not in trusted)
        if wrong := _wrong(bytes(proof), at, note, trusted.get(name)):
            faults.append(Fault("timestamp_wrong", None, None, f"the timestamp of {size} leaves by {name!r}: {wrong}"))
    return Checked(total, unchecked, faults)


def _wrong(proof: bytes, at: Any, note: str | None, roots: Sequence[Certificate] | None) -> str | None:
    if note is None:
        return "its checkpoint is not there"
    try:
        data = note.encode()
        said = timestamp.imprinted(proof, data) if roots is None else timestamp.stamped(proof, data, roots)
    except timestamp.TimestampError as error:
        return f"{_WORDS[error.reason]} ({error.reason})"
    return None if abs((said - at).total_seconds()) < 1 else "it says another time than its row"


_WORDS: Final[dict[timestamp.Reason, str]] = {
    "answer": "it is no answer of an authority",
    "rejected": "it is an answer that nothing was stamped",
    "nonce_wrong": "it is of another question",
    "imprint_wrong": "it is not over this checkpoint",
    "signature_wrong": "its signature is wrong, or leads to none of the authority's certificates in the setting",
}
