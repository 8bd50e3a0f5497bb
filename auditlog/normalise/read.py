"""Owns the one way from a stored item to a reading: every dialect that recognises the item speaks; if none does, the fallback."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from auditlog.item import Item
from auditlog.normalise.condition import condition
from auditlog.normalise.dialects import (
    autogen,
    by_words,
    google_adk,
    langfuse,
    langsmith,
    litellm,
    logfire,
    mlflow,
    named_events,
    openinference,
    openlit,
    otel_genai,
    plain,
    rest,
    traceloop,
    vercel_ai,
)
from auditlog.normalise.values import Memo, where_of
from auditlog.vocabulary import AgentRun, Fact, ModelCall, Reading, Received, ToolRun


class Dialect(NamedTuple):
    """`claims`: of an item that it recognises, whether it alone knows what it means, so that nobody else may speak."""

    name: str
    recognises: Callable[[Item], bool]
    translate: Callable[[Received, Memo], list[Fact]]
    claims: Callable[[Item], bool] | None = None


SPEAK = (
    otel_genai,
    openinference,
    traceloop,
    vercel_ai,
    google_adk,
    langfuse,
    mlflow,
    logfire,
    langsmith,
    litellm,
    openlit,
    autogen,
    named_events,
    rest,
)
DIALECTS: Final = tuple(Dialect(d.NAME, d.recognises, d.translate, getattr(d, "claims", None)) for d in SPEAK)
BY_WORDS: Final = Dialect(by_words.NAME, by_words.recognises, by_words.translate)


def _safely(dialect: Dialect, received: Received, memo: Memo) -> list[Fact]:
    """What a dialect reads. One item that is beyond it must not cost the session all the others: it tells nothing, and is kept."""
    try:
        return dialect.translate(received, memo)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return []


def read(received: Received, memo: Memo | None = None) -> Reading:
    """All that one item says. Several vocabularies may speak in one item; joining what they say is left to reconstruction."""
    memo = memo if memo is not None else Memo()
    item = received.item
    facts: list[Fact] = []
    spoke: list[str] = []
    known = [dialect for dialect in DIALECTS if dialect.recognises(item)]
    for dialect in [one for one in known if one.claims is not None and one.claims(item)] or known:
        spoke.append(dialect.name)
        facts += _safely(dialect, received, memo)
    if not any(_tells(f) for f in facts) and by_words.recognises(item):
        more = _safely(BY_WORDS, received, memo)
        if more and (not spoke or isinstance(more[0], ModelCall | ToolRun)):
            spoke.append(by_words.NAME)
            facts += more
    if not spoke:
        facts = plain.translate(received, memo)
    return Reading(
        where=facts[0].where if facts else where_of(received),
        facts=facts,
        dialects=tuple(spoke) or (plain.NAME,),
        understood=bool(spoke),
        condition=condition(item),
    )


def _tells(fact: Fact) -> bool:
    """Whether a fact has content, and is not only the frame of what was not captured, or stands under keys of the sender's own."""
    if isinstance(fact, ModelCall | AgentRun):
        return bool(fact.input or fact.output)
    return not isinstance(fact, ToolRun) or fact.returned or fact.arguments is not None or fact.arguments_raw is not None


def read_all(events: Iterable[Received]) -> list[Reading]:
    """The readings of a session's or a batch's events, sharing one memo so that repeated prompts are parsed once."""
    memo = Memo()
    return [read(event, memo) for event in events]
