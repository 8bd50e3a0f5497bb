"""Owns the annexes of a dossier: every step verbatim, the instruction, the tools, the gaps, the records and how to check them."""

from __future__ import annotations

from typing import Any, Final

from auditlog.web import present
from auditlog.web.dossier.parts import MOST_STEPS, Budget, Clock, Item, Part, Section, note, say
from auditlog.web.dossier.summary import NOT_PROOF, Case

MOST_GAPS: Final = 500
HOW: Final = (
    "A record's digest is the SHA-256 of what the store keeps of it for good: its structure, and one commitment for each field, so that "
    "values can be erased without touching the digest.",
    "A batch is what one accepted request stored. Its root is the Merkle tree hash of RFC 6962, section 2.1, over the digests of its "
    "records in ascending byte order: a leaf is SHA-256 of the byte 00 and the digest, a node is SHA-256 of the byte 01 and its two "
    "children, and an odd last node moves up unchanged.",
    "Batch number, root and count were answered to the sender when the request was accepted. Compare annex E with the receipts that the "
    "sender kept: where they are equal, nothing in the batch was changed, added or removed since.",
    "Each record can be read as it was sent at /events/<record> of the service, and by GET /api/v1/events/<record>/raw.",
    "Characters that hide or reorder text, and characters that no font here has, are printed as their code in a frame, like U+202E. "
    "Everything else is printed as it was recorded; lines end where the page does, and a tab is four spaces.",
)


def annexes(case: Case, budget: Budget) -> tuple[Section, ...]:
    return (
        *of_timeline(case.timeline, case.clock, budget),
        Section("E", "Records, digests and batches", _records(case)),
        Section("F", "How to check", tuple(Item("", (say(text),)) for text in HOW)),
    )


def of_timeline(timeline: dict[str, Any], clock: Clock, budget: Budget, most: int = MOST_STEPS) -> tuple[Section, ...]:
    """What a timeline says by itself, with so many steps at most."""
    return (
        Section("A", "Transcript", _transcript(timeline, clock, budget, most)),
        Section("B", "Instruction in force", _instructions(timeline, budget)),
        Section("C", "Tools offered", _tools(timeline, budget)),
        Section("D", "Gaps", _gaps(timeline)),
    )


def _transcript(timeline: dict[str, Any], clock: Clock, budget: Budget, most: int) -> tuple[Item, ...]:
    steps = timeline["steps"]
    gaps: dict[int, list[Part]] = {}
    for gap in timeline["completeness"]["gaps"]:
        if gap.get("step") is not None:
            gaps.setdefault(gap["step"], []).append(say(f"Gap: {present.gap_text(gap, placed=False)}", "open"))
    findings: dict[int, list[Part]] = {}
    for finding in timeline.get("findings") or ():
        if finding.get("step") is not None:
            findings.setdefault(finding["step"], []).append(say(str(finding["message"]), "bad"))
    made = [_step(step, timeline, clock, budget, gaps.get(step["n"], []), findings.get(step["n"], [])) for step in steps[:most]]
    if len(steps) > most:
        left = f"Steps {most + 1:,} to {len(steps):,} are not printed. The page of the session and the records have all of them."
        made.append(Item("Cut here", (say(left, "open"),)))
    return tuple(made) or (Item("", (say("No message, reasoning or tool call was recognised in what was received.", "open"),)),)


def _step(step: dict[str, Any], timeline: dict[str, Any], clock: Clock, budget: Budget, gaps: list[Part], findings: list[Part]) -> Item:
    kind = step["kind"]
    heading = present.SPEAKERS.get(kind, kind.replace("_", " ").capitalize())
    if kind == "tool_call":
        heading = str(step["tool"]["name"])
    elif kind == "assistant_message" and step.get("agent"):
        heading = str(step["agent"])
    parts = list(gaps)
    if kind == "tool_call":
        parts += _call(step, budget)
    elif kind == "reasoning":
        parts.append(note(f"Form: {present.FORMS.get(step.get('form') or 'unknown', present.FORMS['unknown'])}"))
        parts += budget.part("quote", step["text"]) if step.get("text") else [say("Its text was not recorded.", "open")]
        parts.append(note(NOT_PROOF))
    elif step.get("text"):
        parts += budget.part("text", step["text"])
    if step.get("detail"):
        parts += budget.value(step["detail"])
    parts += findings
    parts.append(note(_known_by(step, timeline)))
    return Item(heading, tuple(parts), str(step["n"] + 1), clock.local(step.get("at")), clock.utc(step.get("at")), kind)


def _call(step: dict[str, Any], budget: Budget) -> list[Part]:
    tool = step["tool"]
    outcome, tone = present.OUTCOMES.get(tool.get("outcome") or "unknown", present.OUTCOMES["unknown"])
    parts = [say(f"Outcome: {outcome}.", "good" if tone == "good" else "bad" if tone == "bad" else "open")]
    raw, arguments = tool.get("arguments_raw"), tool.get("arguments")
    if raw is None and arguments is None:
        parts.append(say("The arguments were not recorded.", "open"))
    else:
        if raw is not None and arguments is None:
            parts.append(say("The arguments are no valid JSON; this is what the model wrote.", "open"))
        parts += budget.value(raw if isinstance(raw, str) else arguments, "Arguments")
    if tool.get("executed_arguments") is not None:
        parts += budget.value(tool["executed_arguments"], "Ran with")
    if tool.get("error"):
        parts += budget.value(tool["error"], "Error")
    if tool.get("result") is not None:
        parts += budget.value(tool["result"], "Result")
    elif not tool.get("error"):
        parts.append(say("No result was recorded.", "open"))
    parts += [say(f"Check: {check.text}.", "bad") for check in present.checks(tool) if check.tone == "bad"]
    return parts


def _known_by(step: dict[str, Any], timeline: dict[str, Any]) -> str:
    """Of which model call it is part, and the records that state it, by the first digits that annex E repeats whole."""
    said = []
    number = step.get("model_call")
    if number is not None and number < len(timeline["model_calls"]):
        call = timeline["model_calls"][number]
        said.append(f"model call {number + 1}, {call['response_model'] or call['requested_model'] or 'model not recorded'}")
    if step["kind"] == "tool_call" and step["tool"].get("call_id"):
        said.append(f"call {step['tool']['call_id']}")
    ids = step.get("event_ids") or []
    shown = ", ".join(f"{one[:8]}…{one[-8:]}" for one in ids[:6])
    said.append(
        f"record{'' if len(ids) == 1 else 's'} {shown}{f' and {len(ids) - 6} more' if len(ids) > 6 else ''}" if ids else "no record"
    )
    return " · ".join(said)


def _instructions(timeline: dict[str, Any], budget: Budget) -> tuple[Item, ...]:
    prompts = timeline["system_prompts"]
    if not prompts:
        return (Item("", (say("No instruction (system prompt) was recorded.", "open"),)),)
    return tuple(
        Item(
            f"Instruction {number}" if len(prompts) > 1 else "Instruction",
            (
                note(f"In force from step {prompt['first_step'] + 1}, {len(prompt['text']):,} characters"),
                *budget.part("text", prompt["text"]),
            ),
        )
        for number, prompt in enumerate(prompts, 1)
    )


def _tools(timeline: dict[str, Any], budget: Budget) -> tuple[Item, ...]:
    tools = timeline["tools_offered"]
    if not tools:
        said = "The tools that were offered were not recorded, so that calls cannot be checked against them."
        return (Item("", (say(said, "open"),)),)
    made = []
    for tool in tools:
        parts = budget.part("text", tool["description"]) if tool["description"] else []
        parts += budget.value(tool["parameters"], "Schema of its arguments") if tool["parameters"] else []
        made.append(Item(str(tool["name"]), tuple(parts or [note("Neither a description nor a schema was recorded.")])))
    return tuple(made)


def _gaps(timeline: dict[str, Any]) -> tuple[Item, ...]:
    gaps = timeline["completeness"]["gaps"]
    parts = [say(present.gap_text(gap), "open") for gap in gaps[:MOST_GAPS]]
    if len(gaps) > MOST_GAPS:
        parts.append(say(f"And {len(gaps) - MOST_GAPS:,} more gaps.", "open"))
    return (Item("", tuple(parts or [say("No gap was found in what was received.")])),)


def _records(case: Case) -> tuple[Item, ...]:
    found, clock = case.proofs, case.clock
    agrees = {True: "computed again: agrees", False: "computed again: differs", None: "not computed again"}
    batches = [
        Item(
            f"Batch {batch.number}",
            (
                Part("cells", rows=(("root", batch.root), ("count", f"{batch.size:,}, {batch.mine:,} of this session"))),
                say(agrees[batch.agrees], "good" if batch.agrees else "open" if batch.agrees is None else "bad"),
            ),
            at=clock.local(batch.received_at),
            utc=clock.utc(batch.received_at),
            kind="batch",
        )
        for batch in found.batches
    ]
    of_batch = {batch.number: [r for r in found.records if r.batch == batch.number] for batch in found.batches}
    listed = [
        Item(
            f"Records of batch {number}",
            tuple(
                Part(
                    "cells", rows=(("record", r.id), ("digest", r.digest), *((("withheld", ", ".join(r.withheld)),) if r.withheld else ()))
                )
                for r in records
            ),
            kind="records",
        )
        for number, records in of_batch.items()
    ]
    if found.more:
        listed.append(Item("Cut here", (say(f"Only the first {len(found.records):,} records are listed.", "open"),)))
    return (*batches, *listed)
