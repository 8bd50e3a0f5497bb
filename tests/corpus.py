"""Owns the captured cases for tests: their items, and their timelines built purely, without a database or a clock."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from auditlog.ingest.decode import decode
from auditlog.item import LOG, SPAN, Item, Log, Span
from auditlog.normalise.identity import best_session, identify
from auditlog.reconstruct.timeline import timeline
from auditlog.vocabulary import Arrived

CASES = Path(__file__).parent / "fixtures" / "otlp" / "cases"
RECEIVED = datetime(2027, 1, 1, tzinfo=UTC)  # after everything that was captured


@functools.cache
def names() -> list[str]:
    """Every case as "source/scenario"."""
    return sorted(f"{path.parent.parent.name}/{path.parent.name}" for path in CASES.glob("*/*/case.json"))


@functools.cache
def case(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CASES / name / "case.json").read_text())
    return found


@functools.cache
def items(name: str) -> list[Item]:
    """The items of a case in the order in which they were captured."""
    out: list[Item] = []
    for body in case(name)["bodies"]:
        signal = SPAN if body["path"].endswith("traces") else LOG
        encoding = "json" if "json" in body["content_type"] else "protobuf"
        out += decode(gzip.decompress((CASES / name / body["file"]).read_bytes()), signal, encoding)
    return out


def arrived(found: Sequence[Item]) -> list[Arrived]:
    """As if stored: an ID each and one time of receipt, so that only content can tell them apart."""
    return [Arrived(f"{n:064x}", RECEIVED, item) for n, item in enumerate(found)]


def sessions(events: Iterable[Arrived]) -> dict[str, list[Arrived]]:
    """Events by session, bound as derive binds them: a trace belongs to the best session that any of its items declares."""
    traces: dict[str, list[Arrived]] = defaultdict(list)
    for event in events:
        trace = event.item.trace_id if isinstance(event.item, Span | Log) else b""
        traces[trace.hex() or event.id].append(event)
    out: dict[str, list[Arrived]] = defaultdict(list)
    for trace_id, found in traces.items():
        session = best_session(d for e in found for d in identify(e.item).sessions)
        out[session if session is not None else f"trace:{trace_id}"] += found
    return out


def timelines(events: Iterable[Arrived]) -> list[dict[str, Any]]:
    return [timeline(found, key=name, session_id=name) for name, found in sorted(sessions(events).items())]


def shuffled(events: Sequence[Arrived], seed: int) -> list[Arrived]:
    """In another order, some of them twice, received at other times, and with other IDs, as another installation would make them."""
    chance = random.Random(seed)
    again = [*events, *chance.sample(list(events), len(events) // 2)]
    chance.shuffle(again)
    names = {e.id: hashlib.sha256(f"{seed} {e.id}".encode()).hexdigest() for e in events}
    return [Arrived(names[e.id], RECEIVED + timedelta(seconds=n), e.item) for n, e in enumerate(again)]
