"""Owns how a session gets the key that stands in URLs: opaque, stable, URL-safe, the same whatever arrived first."""

from __future__ import annotations

import base64
import hashlib
import uuid
from decimal import Decimal, InvalidOperation

from auditlog.reconstruct.actions import MOST_DIGITS, plain

_LENGTH = 16  # bytes; 26 letters


def _key(kind: bytes, project_id: int, value: bytes) -> str:
    digest = hashlib.blake2b(project_id.to_bytes(8, "big") + value, digest_size=_LENGTH, person=kind).digest()
    return base64.b32encode(digest).decode("ascii").rstrip("=").lower()


def session_key(project_id: int, session_id: bytes) -> str:
    """Key of the session that a sender named. A session ID may be 13 KB long and contain anything."""
    return _key(b"session", project_id, session_id)


def trace_session_key(project_id: int, trace_id: bytes) -> str:
    """Key of a trace that is a session by itself. A sender who names a session "trace:..." gets another one."""
    return _key(b"trace", project_id, trace_id)


def value_digest(project_id: int, kind: str, value: bytes) -> uuid.UUID:
    """What a declared value is looked up by, exactly, whatever its length. A session ID's is the key of that session."""
    if kind == "session":
        return uuid.UUID(bytes=key_bytes(session_key(project_id, value)))
    return uuid.UUID(bytes=hashlib.blake2b(value, digest_size=_LENGTH, person=b"declared").digest())


def term_digest(project_id: int, kind: str, text: str) -> uuid.UUID:
    """What a session is looked up by in `session_term`, and an action by its tool."""
    said = project_id.to_bytes(8, "big") + kind.encode() + b"\0" + to_bytes(text)
    return uuid.UUID(bytes=hashlib.blake2b(said, digest_size=_LENGTH, person=b"term").digest())


def value_digests(project_id: int, text: str) -> list[uuid.UUID]:
    """What a scalar of an action is looked up by: the text as it is and, if it spells a number, that number in its one spelling."""
    spellings = {text}
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = None
    if number is not None and number.is_finite() and number.adjusted() < MOST_DIGITS:
        spellings.add(plain(number))
    return [scalar_digest(project_id, one) for one in sorted(spellings)]


def scalar_digest(project_id: int, spelled: str) -> uuid.UUID:
    """The digest of one scalar as `reconstruct.actions.spelled` writes it."""
    said = project_id.to_bytes(8, "big") + to_bytes(spelled)
    return uuid.UUID(bytes=hashlib.blake2b(said, digest_size=_LENGTH, person=b"scalar").digest())


def key_bytes(key: str) -> bytes:
    """The 16 bytes that a session key spells. Raises ValueError for what is no key."""
    data = base64.b32decode(key.upper() + "======") if len(key) == 26 and key.isascii() else b""
    if len(data) != _LENGTH:
        raise ValueError("not a session key")
    return data


def to_bytes(text: str) -> bytes:
    """A declared value as stored. Lone surrogates and NUL survive: text columns of PostgreSQL can hold neither."""
    return text.encode("utf-8", "surrogatepass")


def to_text(value: bytes | memoryview) -> str:
    """The inverse of `to_bytes`."""
    return bytes(value).decode("utf-8", "surrogatepass")
