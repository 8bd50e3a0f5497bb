"""Owns how a timeline becomes the rows of the decision page: number, margin, what was said or done, and what to believe of it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from auditlog.reconstruct import actions
from auditlog.web import jsontext
from auditlog.web.tags import parse

SPEAKERS: Final = {
    "user_message": "User",
    "assistant_message": "Agent",
    "reasoning": "Reasoning",
    "tool_call": "Tool call",
    "error": "Error",
    "approval": "Approval",
    "guardrail": "Guardrail",
    "retrieval": "Retrieval",
    "handoff": "Hand-off",
    "feedback": "Feedback",
    "outcome": "Outcome",
}
OUTCOMES: Final = {
    "returned": ("returned", "good"),
    "failed": ("failed", "bad"),
    "refused": ("refused", "bad"),
    "unknown": ("outcome unknown: it may have happened", "open"),
}
FORMS: Final = {
    "full": "as the model wrote it",
    "summary": "a summary by the provider",
    "encrypted": "encrypted by the provider: not readable here",
    "redacted": "withheld by the provider",
    "unknown": "form not recorded",
}
VERDICTS: Final = {"gaps": "gaps", "unevaluable": "cannot be checked"}
FOLD: Final = 1200  # characters of a text above which it is folded
FOLD_CODE: Final = 600  # the same of indented JSON, which is taller
STEPS_PER_PAGE: Final = 200


class Note(msgspec.Struct):
    """One line of the right margin. tone: "", good, bad, open."""

    text: str
    tone: str = ""
    steps: list[int] = []
    before: str = ""


class Cell(msgspec.Struct):
    key: str
    text: str
    kind: str


class Block(msgspec.Struct):
    """A recorded value: a small table where flat, indented JSON where not, text as it is."""

    cells: list[Cell] = []
    code: str = ""
    text: str = ""
    folded: bool = False
    length: int = 0


class Row(msgspec.Struct):
    number: int
    kind: str
    speaker: str
    at: str | None
    text: str = ""
    notes: list[Note] = []
    events: list[str] = []
    gaps: list[str] = []
    agent: str | None = None
    form: str = ""
    tool: str = ""
    call_id: str | None = None
    outcome: str = ""
    tone: str = ""
    seconds: float | None = None
    arguments: Block | None = None
    arguments_broken: bool = False
    result: Block | None = None
    error: Block | None = None
    detail: Block | None = None
    new_call: dict[str, Any] | None = None


def block(value: Any) -> Block:
    """How to show one recorded value."""
    found = jsontext.structure(value)
    if isinstance(found, jsontext.Pairs):
        cells = [(key, jsontext.scalar(child)) for key, child in found]
        if cells and all(cell is not None and len(cell.text) <= 600 for _, cell in cells) and len(cells) <= 24:
            return Block(cells=[Cell(key, cell.text, cell.kind) for key, cell in cells if cell is not None])
    if isinstance(found, list):
        code = jsontext.indented(found)
        return Block(code=code, folded=len(code) > FOLD_CODE, length=len(code))
    shown = jsontext.scalar(found)
    text = shown.text if shown is not None else str(found)
    return Block(text=text, folded=len(text) > FOLD, length=len(text))


def _duration(step: dict[str, Any]) -> float | None:
    start, end = parse(step.get("started_at") or step.get("at")), parse(step.get("ended_at"))
    return (end - start).total_seconds() if start and end and end >= start else None


def _tool(row: Row, step: dict[str, Any]) -> None:
    tool = step["tool"]
    row.tool, row.call_id = tool["name"], tool.get("call_id")
    row.outcome, row.tone = OUTCOMES.get(tool.get("outcome") or "unknown", OUTCOMES["unknown"])
    row.seconds = _duration(step)
    raw = tool.get("arguments_raw")
    if raw is not None or tool.get("arguments") is not None:
        row.arguments = block(raw if isinstance(raw, str) else tool["arguments"])
        row.arguments_broken = bool(raw) and tool.get("arguments") is None
    if tool.get("result") is not None:
        row.result = block(tool["result"])
    if tool.get("error"):
        row.error = block(tool["error"])
    row.notes += checks(tool)
    for origin in tool.get("origins") or ():
        name = origin["pointer"].lstrip("/").replace("~1", "/").replace("~0", "~") or "arguments"
        if origin["steps"]:
            row.notes.append(Note("", steps=[n + 1 for n in origin["steps"][:4]], before=name))
        else:
            row.notes.append(Note("nowhere before", "open", before=name))


def checks(tool: dict[str, Any]) -> list[Note]:
    """What could be checked of a call against the tools that the very request offered."""
    offered, valid = tool.get("offered"), tool.get("arguments_valid")
    notes = [
        Note("was offered", "good")
        if offered
        else Note("was never offered", "bad")
        if offered is False
        else Note("offered: cannot be checked", "open")
    ]
    if valid is not None:
        notes.append(Note("arguments valid", "good") if valid else Note("arguments do not fit the schema", "bad"))
    for error in tool.get("validation_errors") or ():
        notes.append(Note(f"{error['pointer'] or '/'}: {error['message']}", "bad"))
    return notes


def row(step: dict[str, Any], calls: list[dict[str, Any]], seen: set[int]) -> Row:
    kind = step["kind"]
    made = Row(
        number=step["n"] + 1,
        kind=kind,
        speaker=SPEAKERS.get(kind, kind.replace("_", " ").capitalize()),
        at=step.get("at"),
        text=step.get("text") or "",
        events=step.get("event_ids") or [],
        agent=step.get("agent"),
    )
    number = step.get("model_call")
    if number is not None and number not in seen and number < len(calls):
        seen.add(number)
        made.new_call = {**calls[number], "number": number + 1}
    if kind == "tool_call":
        _tool(made, step)
    elif kind == "reasoning":
        made.form = FORMS.get(step.get("form") or "unknown", FORMS["unknown"])
    if step.get("detail"):
        made.detail = block(step["detail"])
    return made


def _counted(gap: dict[str, Any]) -> str:
    """A gap's sentence as the page counts: people count model calls from 1, the API from 0."""
    number = gap.get("model_call")
    message = str(gap["message"])
    return message if number is None else message.replace(f"model call {number}", f"model call {number + 1}")


def gap_text(gap: dict[str, Any], placed: bool = True) -> str:
    """A gap in one sentence, for where it does not stand at its step."""
    return f"At step {gap['step'] + 1}: {_counted(gap)}" if placed and gap.get("step") is not None else _counted(gap)


def rows(timeline: dict[str, Any], page: int = 1) -> list[Row]:
    """The rows of one page of the decision, with the gaps of each in place."""
    gaps: dict[int, list[str]] = {}
    for gap in timeline["completeness"]["gaps"]:
        if gap.get("step") is not None:
            gaps.setdefault(gap["step"], []).append(_counted(gap))
    findings: dict[int, list[str]] = {}
    for finding in timeline.get("findings") or ():
        if finding.get("step") is not None:
            findings.setdefault(finding["step"], []).append(finding["message"])
    found = []
    start = (page - 1) * STEPS_PER_PAGE
    seen = {step["model_call"] for step in timeline["steps"][:start] if step.get("model_call") is not None}
    for step in timeline["steps"][start : start + STEPS_PER_PAGE]:
        made = row(step, timeline["model_calls"], seen)
        made.gaps = gaps.get(step["n"], [])
        made.notes += [Note(message, "bad") for message in findings.get(step["n"], [])]
        found.append(made)
    return found


def verdict(timeline: dict[str, Any]) -> dict[str, Any]:
    """The verdict as one reads it, with the gaps that have no place among the steps."""
    completeness = timeline["completeness"]
    gaps = completeness["gaps"]
    if completeness["verdict"] == "complete":
        proven = completeness.get("basis") == "sequence_proven"
        return {"text": "Complete", "basis": "sequence proven" if proven else "no gap found", "tone": "good", "gaps": [], "count": 0}
    text = "Cannot be checked" if completeness["verdict"] == "unevaluable" else f"{len(gaps)} gap{'' if len(gaps) == 1 else 's'}"
    loose = [_counted(gap) for gap in gaps if gap.get("step") is None]
    placed = sorted({gap["step"] + 1 for gap in gaps if gap.get("step") is not None})
    return {"text": text, "basis": "", "tone": "open", "gaps": loose, "placed": placed, "count": len(gaps)}


def marks(timeline: dict[str, Any]) -> list[dict[str, Any]]:
    """The scroll map: a mark for each step, placed by time, 0 to 1000 from the first to the last."""
    steps = timeline["steps"]
    times = [parse(step.get("at")) for step in steps]
    known = [time for time in times if time is not None]
    if len(steps) < 3 or not known:
        return []
    first, last = min(known), max(known)
    whole = (last - first).total_seconds() or 1.0
    found = []
    floor = 0.0
    for step, time in zip(steps, times, strict=True):
        place = floor if time is None else max(floor, (time - first).total_seconds() / whole * (1000 - 6 * min(len(steps), 150)))
        found.append(
            {"number": step["n"] + 1, "kind": step["kind"], "y": round(place, 1), "label": SPEAKERS.get(step["kind"], step["kind"])}
        )
        floor = place + (6 if len(steps) <= 150 else 900 / len(steps))
    return found


def headline(timeline: dict[str, Any]) -> dict[str, Any] | None:
    """What the session did, in one line; None where no tool was called."""
    return actions.notable(timeline)
