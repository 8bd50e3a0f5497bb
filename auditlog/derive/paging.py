"""Owns the pages of a timeline, and keeping those of long sessions, so that one page is read without putting all of it together.

A part of a timeline is a dict like the timeline itself. The head has all but the steps and what stands at one; a page has STEPS of these.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final, LiteralString

import psycopg
import zstandard

from auditlog.derive.read import Cursor
from auditlog.reconstruct.actions import notable

STEPS: Final = 200  # of one page
PLACED: Final = 8  # steps with a gap that the head names; the rest is counted
_APART: Final = ("steps", "model_calls", "findings", "completeness")
_LEVEL: Final = 3

_KNOWN: Final[LiteralString] = "SELECT n, digest FROM timeline_part WHERE session_key = %s AND edition = %s"
_FORGET: Final[LiteralString] = "DELETE FROM timeline_part WHERE session_key = %s AND edition = %s AND n = ANY(%s)"
_WRITE: Final[LiteralString] = """
    INSERT INTO timeline_part (edition, project_id, session_key, n, digest, data)
    SELECT %s, %s, %s, * FROM unnest(%s::int[], %s::uuid[], %s::bytea[])"""
_READ: Final[LiteralString] = "SELECT n, data FROM timeline_part WHERE session_key = %s AND edition = %s AND n = ANY(%s)"
_READ_ALL: Final[LiteralString] = "SELECT n, data FROM timeline_part WHERE session_key = %s AND edition = %s ORDER BY n"


def pages_of(timeline: dict[str, Any]) -> int:
    return max(1, -(-len(timeline["steps"]) // STEPS))


def head_of(timeline: dict[str, Any]) -> dict[str, Any]:
    """What a page of the decision needs of the whole: facts, prompts, tools, verdict; gaps and findings of no step; no step."""
    completeness = timeline["completeness"]
    gaps = completeness["gaps"]
    placed = sorted({gap["step"] for gap in gaps if gap["step"] is not None})
    said = (step["text"] for step in timeline["steps"] if step["kind"] == "user_message" and step.get("text"))
    return {
        **{name: value for name, value in timeline.items() if name not in _APART},
        "completeness": {
            **{name: value for name, value in completeness.items() if name != "gaps"},
            "gaps": [{**gap, "place": place} for place, gap in enumerate(gaps) if gap["step"] is None],
            "count": len(gaps),
            "placed": placed[:PLACED],
            "placed_more": max(0, len(placed) - PLACED),
        },
        "findings": [{**one, "place": place} for place, one in enumerate(timeline["findings"]) if one.get("step") is None],
        "pages": pages_of(timeline),
        "headline": notable(timeline),
        "opening": next(said, ""),
    }


def page_of(timeline: dict[str, Any], number: int) -> dict[str, Any]:
    """The page of this number, from 1. A model call stands where its first step does, without one on the page of the call before it."""
    start = (number - 1) * STEPS
    here = range(start, start + STEPS)
    return {
        "steps": timeline["steps"][start : start + STEPS],
        "model_calls": [call for call, page in zip(timeline["model_calls"], _homes(timeline), strict=True) if page == number],
        "gaps": [{**gap, "place": place} for place, gap in enumerate(timeline["completeness"]["gaps"]) if gap["step"] in here],
        "findings": [{**one, "place": place} for place, one in enumerate(timeline["findings"]) if one.get("step") in here],
    }


def _homes(timeline: dict[str, Any]) -> Iterator[int]:
    first: dict[int, int] = {}
    for n, step in enumerate(timeline["steps"]):
        if step.get("model_call") is not None:
            first.setdefault(step["model_call"], n // STEPS + 1)
    home = 1
    for call in timeline["model_calls"]:
        home = first.get(call["n"], home)
        yield home


def whole(head: dict[str, Any], pages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The timeline that the parts were made of."""

    def joined(own: list[Any], name: str) -> list[Any]:
        found = sorted((*own, *(one for page in pages for one in page[name])), key=lambda one: one["place"])
        return [{key: value for key, value in one.items() if key != "place"} for one in found]

    completeness = {name: head["completeness"][name] for name in ("verdict", "basis")}
    return {
        **{name: value for name, value in head.items() if name not in ("pages", "headline", "opening")},
        "steps": [step for page in pages for step in page["steps"]],
        "model_calls": sorted((call for page in pages for call in page["model_calls"]), key=lambda call: int(call["n"])),
        "completeness": {**completeness, "gaps": joined(head["completeness"]["gaps"], "gaps")},
        "findings": joined(head["findings"], "findings"),
    }


# -- keeping those of long sessions --------------------------------------------------------------------------------------------


def kept(timeline: dict[str, Any]) -> list[bytes]:
    """The parts of a session of several pages, as they are stored: the head, then each page. A shorter one has none."""
    count = pages_of(timeline)
    if count == 1:
        return []
    parts = [head_of(timeline), *(page_of(timeline, number) for number in range(1, count + 1))]
    try:
        return [zstandard.compress(json.dumps(part).encode("ascii"), _LEVEL) for part in parts]
    except ValueError:  # a number of thousands of digits, which Python does not write out: such a session is put together each time
        return []


def write(conn: psycopg.Connection[Any], edition: int, project_id: int, key: str, parts: Sequence[bytes]) -> None:
    """Makes the stored parts of a session these. In the caller's transaction."""
    known = dict(conn.execute(_KNOWN, (key, edition)).fetchall())
    told = [uuid.UUID(bytes=hashlib.blake2b(part, digest_size=16).digest()) for part in parts]
    missing = [n for n, digest in enumerate(told) if known.get(n) != digest]
    if wrong := [n for n, digest in known.items() if n >= len(told) or told[n] != digest]:
        conn.execute(_FORGET, (key, edition, wrong))
    if missing:
        conn.execute(_WRITE, (edition, project_id, key, missing, [told[n] for n in missing], [parts[n] for n in missing]))


def read(cursor: Cursor, edition: int, key: str, number: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """(head, page), of a number above the last: the last page. None: they are not kept, or not any more."""
    cursor.execute(_READ, (key, edition, [0, number]))
    found = {n: _part(data) for n, data in cursor.fetchall()}
    head = found.get(0)
    if head is not None and number > head["pages"]:
        return read(cursor, edition, key, head["pages"])
    return None if head is None or number not in found else (head, found[number])


def read_whole(cursor: Cursor, edition: int, key: str) -> dict[str, Any] | None:
    cursor.execute(_READ_ALL, (key, edition))
    parts = [_part(data) for _, data in cursor.fetchall()]
    return whole(parts[0], parts[1:]) if parts else None


def _part(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(zstandard.decompress(bytes(data)))
    return found
