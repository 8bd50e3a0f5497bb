"""Owns how a timeline becomes the rows of the decision page: number, margin, what was said or done, and what to believe of it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

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
SHOWN: Final = 200_000  # characters of one text or value: a browser that is given sixty million stands still; the record has all
FOLD: Final = 1200  # characters of a text above which it is folded
FOLD_CODE: Final = 600  # the same of indented JSON, which is taller
RECORDS_SHOWN: Final = 4  # of one step
GAPS_SHOWN: Final = 30  # of the whole session, above its steps
HUES: Final = 6  # agents that are told apart by colour; their names always are


class Note(msgspec.Struct):
    """One line of the right margin. tone: "", good, bad, open."""

    text: str
    tone: str = ""
    steps: list[int] = []
    before: str = ""
    links: list[tuple[str, str]] = []  # number and address of each of `steps`

    @property
    def css(self) -> str:
        return "open-tone" if self.tone == "open" else self.tone


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
    cut: int = 0  # characters that are shown, where that is not all

    @property
    def peek(self) -> str:
        """All of it in one line, for where it is cut."""
        return ", ".join(f"{cell.key} {cell.text}" for cell in self.cells) or self.code or self.text


class Row(msgspec.Struct):
    number: int
    kind: str
    speaker: str
    at: str | None
    text: str = ""
    length: int = 0
    cut: int = 0  # characters of the text that are shown, where that is not all
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
    ran_with: Block | None = None  # what the call ran with, where that is not what the model wrote
    result: Block | None = None
    error: Block | None = None
    detail: Block | None = None
    new_call: dict[str, Any] | None = None
    model_call: int | None = None
    label: str = ""  # the number as text, and where the step and its Why are: what a template formats it formats slowly
    href: str = ""
    why: str = ""
    request: str = ""  # where its model call is as a request to send again
    records: list[tuple[str, str, str]] = []  # what a record is called here, its address, its ID
    unlisted: int = 0  # records that are not among them


def block(value: Any) -> Block:
    """How to show one recorded value."""
    found = jsontext.structure(value)
    if isinstance(found, jsontext.Pairs):
        cells = [(key, jsontext.scalar(child)) for key, child in found]
        if cells and all(cell is not None and len(cell.text) <= 600 for _, cell in cells) and len(cells) <= 24:
            return Block(cells=[Cell(key, cell.text, cell.kind) for key, cell in cells if cell is not None])
    if isinstance(found, list):
        code = jsontext.indented(found)
        return Block(code=code[:SHOWN], folded=len(code) > FOLD_CODE, length=len(code), cut=_cut(code))
    shown = jsontext.scalar(found)
    text = shown.text if shown is not None else str(found)
    return Block(text=text[:SHOWN], folded=len(text) > FOLD, length=len(text), cut=_cut(text))


def _cut(text: str) -> int:
    return SHOWN if len(text) > SHOWN else 0


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
    if tool.get("executed_arguments") is not None:
        row.ran_with = block(tool["executed_arguments"])
    if tool.get("result") is not None:
        row.result = block(tool["result"])
    if tool.get("error"):
        row.error = block(tool["error"])
    row.notes += checks(tool)
    for origin in tool.get("origins") or ():
        name = pointed(origin["pointer"])
        if origin["steps"]:
            row.notes.append(Note("", steps=[n + 1 for n in origin["steps"][:4]], before=name))
        elif origin.get("system_prompt"):
            row.notes.append(Note("in the instruction", before=name))
        else:
            row.notes.append(Note("nowhere before", "open", before=name))


def pointed(pointer: str) -> str:
    """A JSON pointer as a person reads it."""
    return pointer.lstrip("/").replace("~1", "/").replace("~0", "~") or "arguments"


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
    if tool.get("executed_arguments") is not None:
        notes.append(Note("changed before it ran", "open"))
    for error in tool.get("validation_errors") or ():
        notes.append(Note(f"{error['pointer'] or '/'}: {error['message']}", "bad"))
    return notes


def row(step: dict[str, Any], calls: dict[int, dict[str, Any]]) -> Row:
    """`calls`: the model calls that no row has told yet; the one that this row tells is taken out."""
    kind, text = step["kind"], step.get("text") or ""
    made = Row(
        number=step["n"] + 1,
        kind=kind,
        speaker=SPEAKERS.get(kind, kind.replace("_", " ").capitalize()),
        at=step.get("at"),
        text=text[:SHOWN],
        length=len(text),
        cut=_cut(text),
        events=step.get("event_ids") or [],
        agent=step.get("agent"),
        model_call=step.get("model_call"),
    )
    if made.model_call in calls:
        made.new_call = {**calls.pop(made.model_call), "number": made.model_call + 1}
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


def rows(page: dict[str, Any]) -> list[Row]:
    """The rows of one page of the decision, with the gaps of each in place."""
    gaps: dict[int, list[str]] = {}
    for gap in page["gaps"]:
        gaps.setdefault(gap["step"], []).append(_counted(gap))
    findings: dict[int, list[str]] = {}
    for finding in page["findings"]:
        findings.setdefault(finding["step"], []).append(finding["message"])
    calls = {call["n"]: call for call in page["model_calls"]}
    found = []
    for step in page["steps"]:
        made = row(step, calls)
        made.gaps = gaps.get(step["n"], [])
        made.notes += [Note(message, "bad") for message in findings.get(step["n"], [])]
        found.append(made)
    return found


class Group(msgspec.Struct):
    """Rows that stand together: one, or the calls that one answer of a model asked for at once, side by side."""

    rows: list[Row]
    agent: str | None = None  # set where several agents took part
    hue: int = 0  # of the agent, 1 to HUES
    hand: bool = False  # this agent was not the one before

    @property
    def together(self) -> bool:
        return len(self.rows) > 1


def groups(rows: list[Row], agents: list[str]) -> list[Group]:
    """`agents`: those of the session, in order; where there are fewer than two nobody hands over."""
    found: list[Group] = []
    for made in rows:
        last = found[-1].rows[-1] if found else None
        beside = last is not None and made.kind == last.kind == "tool_call" and made.model_call is not None and not made.gaps
        if last is not None and beside and made.model_call == last.model_call and made.agent == last.agent:
            found[-1].rows.append(made)
        else:
            found.append(Group([made]))
    if len(agents) > 1:
        before: str | None = None
        for group in found:
            group.agent = group.rows[0].agent
            if group.agent is not None:
                group.hue = (agents.index(group.agent) if group.agent in agents else len(agents)) % HUES + 1
                group.hand = group.agent != before
                before = group.agent
    return found


def verdict(completeness: dict[str, Any]) -> dict[str, Any]:
    """The verdict as one reads it, with the gaps that have no place among the steps."""
    found, count = completeness["verdict"], completeness["count"]
    if found == "complete":
        proven = completeness.get("basis") == "sequence_proven"
        return {"text": "Complete", "basis": "sequence proven" if proven else "no gap found", "tone": "good", "gaps": [], "count": 0}
    text = "Cannot be checked" if found == "unevaluable" else f"{count:,} gap{'' if count == 1 else 's'}"
    loose = [_counted(gap) for gap in completeness["gaps"][:GAPS_SHOWN]]
    more = len(completeness["gaps"]) - len(loose)
    placed = [n + 1 for n in completeness["placed"]]
    return {"text": text, "basis": "", "tone": "open", "gaps": loose, "more": more, "placed": placed,
            "placed_more": completeness["placed_more"], "count": count}  # fmt: skip
