"""Owns the vocabulary of LangSmith's OpenTelemetry export: `langsmith.span.kind`, and runs whose inputs and outputs are JSON texts."""

from __future__ import annotations

from typing import Any

from auditlog.item import Item, Span
from auditlog.normalise import notation, observed
from auditlog.normalise.values import Memo, attributes, structure, text, where_of
from auditlog.vocabulary import Fact, Received

NAME = "langsmith"
KIND = "langsmith.span.kind"
KINDS = {"llm": "model", "tool": "tool", "retriever": "retrieval"}
SENT, ANSWERED = "gen_ai.prompt", "gen_ai.completion"


def recognises(item: Item) -> bool:
    return isinstance(item, Span) and any(key == KIND for key, _, _ in item.attributes)


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if not isinstance(item, Span):
        return []
    said = attributes(item.attributes)
    kind = KINDS.get(str(said[KIND]).lower())
    if kind is None:
        return []  # chains, prompts and parsers repeat what the runs inside of them say
    seen = observed.Observation(
        kind=kind,
        name=text(said.get("langsmith.trace.name")) or item.name,
        sent=_own_arguments(said.get(SENT)) if kind == "tool" else said.get(SENT),
        answered=said.get(ANSWERED),
        requested_model=text(said.get("langsmith.metadata.ls_model_name")),
        error=(item.status[1] or "error") if item.status is not None and item.status[0] == 2 else None,
    )
    return observed.facts(where_of(received), seen, memo)


def _own_arguments(sent: Any) -> Any:
    """A tool's run keeps its arguments in one text, in Python's notation; the tool's own parameter of that name holds plain text."""
    found = structure(sent)
    if isinstance(found, dict) and set(found) == {"input"} and isinstance(found["input"], str):
        return structure(found["input"]) or notation.value(found["input"]) or sent
    return sent
