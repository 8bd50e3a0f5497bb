"""Owns the one way from a stored item to a reading: every dialect that recognises the item speaks; if none does, the fallback."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from auditlog.item import Item, Span
from auditlog.normalise.dialects import autogen, langfuse, logfire, mlflow, openinference, otel_genai, plain, rest, traceloop, vercel_ai
from auditlog.normalise.values import Memo, where_of
from auditlog.vocabulary import Fact, Reading, Received


class Dialect(NamedTuple):
    name: str
    recognises: Callable[[Item], bool]
    translate: Callable[[Received, Memo], list[Fact]]


SPEAK = (otel_genai, openinference, traceloop, vercel_ai, langfuse, mlflow, logfire, autogen, rest)
DIALECTS: Final = tuple(Dialect(d.NAME, d.recognises, d.translate) for d in SPEAK)


def read(received: Received, memo: Memo | None = None) -> Reading:
    """All that one item says. Several vocabularies may speak in one item; joining what they say is left to reconstruction."""
    memo = memo if memo is not None else Memo()
    item = received.item
    facts: list[Fact] = []
    spoke: list[str] = []
    for dialect in DIALECTS:
        if dialect.recognises(item):
            spoke.append(dialect.name)
            facts += dialect.translate(received, memo)
    if not spoke:
        facts = plain.translate(received, memo)
    return Reading(
        where=facts[0].where if facts else where_of(received),
        facts=facts,
        dialects=tuple(spoke) or (plain.NAME,),
        understood=bool(spoke),
        dropped_attributes=item.dropped_attributes if isinstance(item, Span) else getattr(item, "dropped_attributes", 0),
    )


def read_all(events: Iterable[Received]) -> list[Reading]:
    """The readings of a session's or a batch's events, sharing one memo so that repeated prompts are parsed once."""
    memo = Memo()
    return [read(event, memo) for event in events]
