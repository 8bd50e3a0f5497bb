"""Owns the answer of one model call: the parts that several layers tell of, joined in the order in which the model wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from auditlog.reconstruct.keys import arguments_key, flat
from auditlog.vocabulary import Call, Message, Reasoning, Text

PAIRS: Final = 1_000_000  # parts of two reports that are compared, each with each; beyond it only what is equal is the same


def merge_outputs(told: Sequence[tuple[Message, ...]]) -> list[Any]:
    """The parts of the answer in their order: those of the richest report, and of the others only what it lacks."""
    reports = [[p for m in messages if m.role == "assistant" for p in m.parts] for messages in told]
    reports = sorted((r for r in reports if r), key=lambda r: -len(r))
    out: list[Any] = list(reports[0]) if reports else []
    for report in reports[1:]:
        if not closely(report, out):
            _join_what_is_equal(report, out)
            continue
        place = 0
        for part in report:
            at = covered(part, out)
            if at is None:
                out.insert(place, part)
                place += 1
            else:
                place = max(place, at + 1)
    return _thought_first(_without_echo(out))


def closely(report: Sequence[Any], out: Sequence[Any]) -> bool:
    """Whether each part is compared with each: no model answers in so many parts that it would take long, but a sender may claim it."""
    return len(report) * len(out) <= PAIRS


def _join_what_is_equal(report: Sequence[Any], out: list[Any]) -> None:
    known = {_alike(part): i for i, part in enumerate(out)}
    for part in report:
        at = known.setdefault(_alike(part), len(out))
        if at == len(out):
            out.append(part)
        elif isinstance(part, Call):
            out[at] = _fuller(out[at], part)


def _alike(part: Any) -> tuple[Any, ...]:
    """Equal for what is the same without a closer look."""
    if isinstance(part, Call):
        return (part.call_id,) if part.call_id else (part.name, arguments_key(part.arguments, part.arguments_raw))
    return ("said", flat(part.text)) if isinstance(part, Text | Reasoning) else (repr(part), None, None)


def covered(part: Any, out: list[Any]) -> int | None:
    """Where in the answer this part already stands, whole, in pieces or with less known of it; None if it is new."""
    if isinstance(part, Call):
        for i, known in enumerate(out):
            if isinstance(known, Call) and _same_call(part, known):
                out[i] = _fuller(known, part)
                return i
        return None
    if not isinstance(part, Text | Reasoning):
        return next((i for i, known in enumerate(out) if known == part), None)
    wanted = flat(part.text)
    for i, known in enumerate(out):  # one layer knows that it was reasoning, the other took it for text: the first knows more
        if isinstance(known, Text | Reasoning) and wanted and flat(known.text) == wanted:
            if isinstance(part, Reasoning) and (not isinstance(known, Reasoning) or known.form == "unknown"):
                out[i] = part
            return i
    same = [i for i, known in enumerate(out) if isinstance(known, type(part))]
    if wanted in "".join(flat(out[i].text) for i in same):
        return max(same, default=len(out) - 1)
    if isinstance(part, Reasoning) and not wanted:
        return len(out) - 1
    return None


def _fuller(known: Call, other: Call) -> Call:
    """One call as two layers tell it: each may lack its ID, or arguments that were empty and therefore left out."""
    told = other if known.arguments is None and known.arguments_raw is None else known
    others = tuple(dict.fromkeys((*known.other_ids, *other.other_ids)))
    return Call(known.name, known.call_id or other.call_id, told.arguments, told.arguments_raw, others)


def _same_call(a: Call, b: Call) -> bool:
    if a.call_id and b.call_id:
        return a.call_id == b.call_id or a.call_id in b.other_ids or b.call_id in a.other_ids
    return a.name == b.name and arguments_key(a.arguments, a.arguments_raw) == arguments_key(b.arguments, b.arguments_raw)


def _without_echo(parts: list[Any]) -> list[Any]:
    """Without the text that a library copied from the reasoning, and without an empty reasoning beside a full one."""
    full = any(isinstance(p, Reasoning) and p.text for p in parts)
    return [p for p in parts if not (full and isinstance(p, Reasoning) and not p.text)]


def _thought_first(parts: list[Any]) -> list[Any]:
    """Nobody thinks after the last word: where all the reasoning stands at the end, it was only written down there."""
    said = next((i for i in reversed(range(len(parts))) if not isinstance(parts[i], Reasoning)), -1)
    if said < 0 or said == len(parts) - 1 or any(isinstance(p, Reasoning) for p in parts[:said]):
        return parts
    return parts[said + 1 :] + parts[: said + 1]
