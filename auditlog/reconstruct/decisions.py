"""Owns what was decided about calls: approvals as steps, once each, and which call a denial stopped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from auditlog.reconstruct.step import AFTER, Place, Step
from auditlog.reconstruct.steps import Builder
from auditlog.reconstruct.tree import key_of
from auditlog.vocabulary import Happening

DENIED = frozenset(("denied", "deny", "rejected", "reject", "refused", "expired", "cancelled", "canceled", "declined", "blocked"))


def happening(builder: Builder, fact: Happening) -> None:
    place: Place = (fact.where.start, 1 << 29, AFTER, fact.where.order)
    step = Step(fact.kind, place, fact.where.start, [fact.where], fact.text)
    step.detail, step.actor, step.agent = fact.detail, fact.actor, fact.agent
    if fact.kind in ("approval", "guardrail") and str(fact.detail.get("decision")).lower() in DENIED:
        for concerned in _concerned(builder.steps, fact):
            if concerned.tool is not None:
                concerned.tool.refused = True
    builder.steps.append(step)


def tell_errors(builder: Builder, facts: Iterable[Happening]) -> None:
    """The spans around a guardrail that raised end with the same words."""
    for fact in facts:
        if fact.kind == "guardrail" and isinstance(said := fact.detail.get("error"), str):
            builder.errors.tell(key_of(fact.where), said)


def _concerned(steps: Sequence[Step], fact: Happening) -> list[Step]:
    """The calls that a decision names, by ID; one that names only a tool is about the last call of it that did not run by then."""
    calls = [s for s in steps if s.tool is not None]
    if fact.about:
        return [s for s in calls if s.tool is not None and fact.about in s.tool.ids | s.names]
    name = fact.detail.get("tool")
    open_calls = [s for s in calls if s.tool is not None and s.tool.name == name and not s.tool.executed and not s.tool.refused]
    before = [s for s in open_calls if s.place[0] <= fact.where.start]
    return [max(before, key=lambda s: s.place)] if before and fact.kind == "approval" else []


def from_prompts(builder: Builder) -> None:
    """Approvals that stand as parts in prompts: asked for in one answer, given or denied in a later message."""
    for asked in builder.approvals.values():
        call = next((s for i in asked.call_ids for s in builder.by_id.get(i, ()) if s.tool is not None), None)
        if asked.approved is False and call is not None and call.tool is not None:
            call.tool.refused = True
        decision = "pending" if asked.approved is None else "approved" if asked.approved else "denied"
        step = Step("approval", asked.place, asked.place[0], asked.wheres, asked.reason or decision)
        step.detail = {"decision": decision} | ({"tool": call.tool.name} if call is not None and call.tool is not None else {})
        step.agent = call.agent if call is not None else None
        builder.steps.append(step)
