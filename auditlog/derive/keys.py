"""Owns how a session gets the key that stands in URLs: opaque, stable, URL-safe, the same whatever arrived first."""

from __future__ import annotations

import base64
import hashlib
import uuid

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


def value_digest(value: bytes) -> uuid.UUID:
    """What a declared value is looked up by, exactly, whatever its length."""
    return uuid.UUID(bytes=hashlib.blake2b(value, digest_size=16, person=b"declared").digest())


def to_bytes(text: str) -> bytes:
    """A declared value as stored. Lone surrogates and NUL survive: text columns of PostgreSQL can hold neither."""
    return text.encode("utf-8", "surrogatepass")


def to_text(value: bytes | memoryview) -> str:
    """The inverse of `to_bytes`."""
    return bytes(value).decode("utf-8", "surrogatepass")
