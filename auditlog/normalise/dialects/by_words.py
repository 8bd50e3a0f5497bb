"""Owns vocabularies that nobody here has met: spans read by the words of their keys, when no known vocabulary told what they say.

`acme.span.type = "llm"`, `acme.input`, `acme.output_json`, `acme.model.name` need no table of vendors: the last words of a
key say what its value is. Nothing is read from a span that does not say what kind of work it was, or whose keys leave it open.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from auditlog.item import Item, Span
from auditlog.normalise import observed, parts
from auditlog.normalise.bodies import usage_of
from auditlog.normalise.identity import words
from auditlog.normalise.values import Memo, attributes, decimal, first, given, number, structure, text, where_of
from auditlog.vocabulary import Fact, Received, Tool, Usage

NAME = "by_words"
NOISE = frozenset(("json", "value", "data", "text", "content", "body", "raw", "str", "string", "payload"))
KIND_WORDS = frozenset((("span", "kind"), ("span", "type"), ("run", "type"), ("observation", "type"), ("node", "type"), ("entity", "type")))
INPUT = {
    "model": ("messages", "prompt", "prompts", "request", "input", "inputs", "contents", "ctx"),
    "tool": ("args", "arguments", "input", "inputs", "params", "parameters", "request"),
}
OUTPUT = {
    "model": ("response", "completion", "completions", "output", "outputs", "generation", "generations"),
    "tool": ("result", "results", "output", "outputs", "response", "return"),
}
ANSWERS = frozenset(("output", "response", "completion", "assistant", "result"))
TOOLS = frozenset(("tools", "functions"))
SYSTEM = frozenset((("system", "prompt"), ("system", "instruction"), ("system", "instructions"), ("system", "message")))
LONGEST_KEY = 200


def recognises(item: Item) -> bool:
    return isinstance(item, Span) and bool(item.attributes)


def translate(received: Received, memo: Memo) -> list[Fact]:
    item = received.item
    if not isinstance(item, Span):
        return []
    said = attributes(item.attributes)
    for key in [k for k in said if k.endswith("metadata")]:
        inner = structure(said[key])
        if isinstance(inner, dict):  # some keep the model and its tools among the sender's own keys
            said.update({f"{key}.{k}": v for k, v in inner.items() if f"{key}.{k}" not in said})
    read = {key: found for key in said if len(key) <= LONGEST_KEY and (found := _words(key))}
    seen = _observation(item, said, read)
    return observed.facts(where_of(received), seen, memo) if seen is not None else []


@lru_cache(maxsize=8192)
def _words(key: str) -> tuple[str, ...]:
    """The words of a key without those at its end that only tell how its value is written."""
    found = words(key)
    while len(found) > 1 and found[-1] in NOISE:
        found.pop()
    return tuple(found)


def _observation(item: Span, said: dict[str, Any], read: dict[str, tuple[str, ...]]) -> observed.Observation | None:
    models = [(("response" in w), said[k]) for k, w in read.items() if _names_model(w) and text(said[k])]
    tool = next((said[k] for k, w in read.items() if _names_tool(w) and text(said[k])), None)
    kind, said_so = _kind(said, read), True
    if kind is None:
        kind, said_so = "tool" if tool is not None and not models else "model" if models else None, False
    if kind is None:
        return None
    sent, answered = _found(said, read, INPUT, kind), _found(said, read, OUTPUT, kind)
    if sent is None and answered is None:
        return None  # whatever it was, it tells nothing
    if kind == "model" and not said_so and (sent is None or answered is None):
        return None
    return observed.Observation(
        kind=kind,
        name=tool or _entity(said, read) if kind == "tool" else _agent(said, read) if kind == "agent" else None,
        sent=sent,
        answered=answered,
        system=next((said[k] for k, w in read.items() if w[-2:] in SYSTEM), None),
        tools=_tools(said, read),
        requested_model=next((m for response, m in models if not response), None),
        response_model=next((m for response, m in models if response), None),
        usage=_usage(said, read),
        call_id=next((said[k] for k, w in read.items() if w[-2:] == ("call", "id") and given(said[k])), None),
        agent=_agent(said, read),
        error=(item.status[1] or "error") if item.status is not None and item.status[0] == 2 else None,
        cost_usd=next((v for k, w in read.items() if w[-2:] in (("cost", "usd"), ("total", "cost")) and (v := decimal(said[k]))), None),
    )


def _names_model(found: tuple[str, ...]) -> bool:
    return found[-1] == "model" or found[-2:] in (("model", "name"), ("model", "id"))


def _names_tool(found: tuple[str, ...]) -> bool:
    return found[-2:] in (("tool", "name"), ("function", "name")) or found[-3:] == ("tool", "definition", "name")


def _kind(said: dict[str, Any], read: dict[str, tuple[str, ...]]) -> str | None:
    for key, found in read.items():
        value = said[key]
        if found[-2:] == ("span", "attributes") and isinstance(value, str | dict):
            inner = structure(value) or value
            value = first(inner, "type", "kind") if isinstance(inner, dict) else None
        elif found[-2:] not in KIND_WORDS and found[-1] != "kind":
            continue
        if isinstance(value, str):
            kind = observed.KINDS.get("_".join(words(value)))
            if kind is not None:
                return kind
    return None


def _found(said: dict[str, Any], read: dict[str, tuple[str, ...]], wanted: dict[str, tuple[str, ...]], kind: str) -> Any:
    """The value of the key whose last word fits best; of several, the shortest key."""
    endings = wanted.get(kind, wanted["tool"])
    best: tuple[int, int, str] | None = None
    for key, found in read.items():
        if found[-1] not in endings or found[-2:] in SYSTEM or not isinstance(said[key], str | list | dict) or said[key] in ("", "{}", {}):
            continue
        if wanted is INPUT and not ANSWERS.isdisjoint(found):
            continue  # messages of the output are no input
        rank = (endings.index(found[-1]), len(key), key)
        best = min(best, rank) if best is not None else rank
    return said[best[2]] if best is not None else None


def _entity(said: dict[str, Any], read: dict[str, tuple[str, ...]]) -> str | None:
    return next((said[k] for k, w in read.items() if w[-2:] == ("entity", "name") and text(said[k])), None)


def _agent(said: dict[str, Any], read: dict[str, tuple[str, ...]]) -> str | None:
    return next((said[k] for k, w in read.items() if w[-2:] == ("agent", "name") and text(said[k])), None)


def _tools(said: dict[str, Any], read: dict[str, tuple[str, ...]]) -> tuple[Tool, ...] | None:
    for key, found in read.items():
        if found[-1] in TOOLS or found[-2:] in (("tool", "definitions"), ("tool", "schemas")):
            offered = parts.tools(said[key])
            if offered:
                return offered
    return None


def _usage(said: dict[str, Any], read: dict[str, tuple[str, ...]]) -> Usage | None:
    """Counts under keys of their own, or all together under one."""
    counts = dict(_counts(said, read))
    if counts:
        return usage_of({"total_tokens": None, **counts})
    for key, found in read.items():
        if found[-1] in ("usage", "metrics") and isinstance(said[key], str | dict):
            usage = usage_of(structure(said[key]) or said[key])
            if usage is not None:
                return usage
    return None


def _counts(said: dict[str, Any], read: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, int]]:
    for key, found in read.items():
        value = number(said[key])
        if value is None or "tokens" not in found[-3:]:
            continue
        if found[-2:] in (("input", "tokens"), ("prompt", "tokens"), ("tokens", "input"), ("tokens", "prompt")) and "cache" not in found:
            yield "input_tokens", value
        elif found[-2:] in (("output", "tokens"), ("completion", "tokens"), ("tokens", "output"), ("tokens", "completion")):
            yield "output_tokens", value
