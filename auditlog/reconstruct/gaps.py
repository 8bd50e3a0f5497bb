"""Owns completeness: what the trail of a session lacks, each gap with a code, a step and a sentence that tells how to close it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auditlog.reconstruct.calls import JoinedCall, fresh
from auditlog.reconstruct.step import Step
from auditlog.reconstruct.tools import outcome
from auditlog.reconstruct.tree import Tree
from auditlog.vocabulary import Media, Reading

Gap = dict[str, Any]


def gap(code: str, message: str, step: int | None = None, **more: Any) -> Gap:
    return {"code": code, "step": step, "message": message, **more}


def find_gaps(
    readings: Sequence[Reading], calls: Sequence[JoinedCall], steps: Sequence[Step], systems: bool, tools: bool, tree: Tree
) -> list[Gap]:
    out: list[Gap] = []
    if calls and not systems:
        out.append(
            gap("system_prompt_missing", "No system prompt was recorded. Enable content capture in the instrumentation, or send `system`.")
        )
    if calls and not tools:
        out.append(
            gap("tools_missing", "No tool definitions were recorded, so calls cannot be checked. Record the tools offered in each request.")
        )
    out += _of_calls(calls, steps)
    out += _of_steps(steps)
    out += _of_items(readings, tree)
    return out


def _of_calls(calls: Sequence[JoinedCall], steps: Sequence[Step]) -> list[Gap]:
    out: list[Gap] = []
    reasoned = {s.call for s in steps if s.kind == "reasoning" and s.text.strip()}
    unfetched = {n for n, m in fresh(calls) for p in m.parts if isinstance(p, Media) and p.uri and not p.data}
    firsts = {s.call: n for n, s in reversed(list(enumerate(steps)))}
    for n, call in enumerate(calls):
        first = firsts.get(n)
        if call.usage is not None and call.usage.reasoning_tokens and n not in reasoned:
            out.append(
                gap(
                    "reasoning_missing",
                    f"{call.usage.reasoning_tokens} reasoning tokens were billed for model call {n}, but its reasoning was not "
                    "recorded. Ask the provider for reasoning summaries and let the instrumentation capture them.",
                    first,
                    model_call=n,
                )
            )
        if not call.output and not call.error:
            out.append(
                gap(
                    "output_missing",
                    f"The answer of model call {n} was not recorded. Enable content capture in the instrumentation.",
                    first,
                    model_call=n,
                )
            )
        if not call.input:
            out.append(
                gap(
                    "input_missing",
                    f"The prompt of model call {n} was not recorded. Enable content capture in the instrumentation.",
                    first,
                    model_call=n,
                )
            )
        if n in unfetched:
            out.append(
                gap(
                    "content_not_fetched",
                    "A part of the prompt is only a reference to content that was never received.",
                    first,
                    model_call=n,
                )
            )
    return out


def _of_steps(steps: Sequence[Step]) -> list[Gap]:
    out: list[Gap] = []
    for n, step in enumerate(steps):
        if step.tool is not None and outcome(step.tool) == "unknown":
            out.append(gap("result_missing", f"No result of the call to {step.tool.name} was recorded: it may have happened.", n))
        if step.tool is not None and step.tool.arguments is None and step.tool.arguments_raw is None:
            out.append(gap("arguments_missing", f"The arguments of the call to {step.tool.name} were not recorded.", n))
        if step.from_prompt:
            out.append(
                gap(
                    "origin_not_recorded",
                    "Known only from a later prompt that repeats it: the model call that produced it was not received.",
                    n,
                )
            )
    return out


def _of_items(readings: Sequence[Reading], tree: Tree) -> list[Gap]:
    out: list[Gap] = []
    dropped = sum(r.dropped_attributes for r in readings)
    if dropped:
        where = sum(1 for r in readings if r.dropped_attributes)
        out.append(
            gap(
                "attributes_dropped",
                f"The sender dropped {dropped} attributes of {where} items before sending them. Set OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT "
                "(and OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT) higher than its default of 128 at the sender.",
                None,
                count=dropped,
            )
        )
    orphans = tree.orphans()
    if orphans:
        names = ", ".join(sorted({w.name for w in orphans if w.name})[:3])
        out.append(
            gap(
                "parent_missing",
                f"The parents of {len(orphans)} spans were never received ({names}): still open, sampled away, or sent elsewhere.",
                None,
                count=len(orphans),
            )
        )
    foreign = sum(1 for r in readings if not r.understood and r.where.log)
    if foreign:
        out.append(
            gap("not_understood", f"{foreign} log records are kept, but in no vocabulary that is understood here.", None, count=foreign)
        )
    unreadable = sum(1 for r in readings if not r.where.trace_id and not r.where.start and not r.understood)
    if unreadable:
        out.append(gap("undated", f"{unreadable} items carry neither a time nor a trace.", None, count=unreadable))
    return out


def verdict(gaps: Sequence[Gap], calls: Sequence[JoinedCall], steps: Sequence[Step]) -> dict[str, Any]:
    """Missing data never counts as evidence: a session in which nothing was understood is unevaluable, not complete."""
    found = "unevaluable" if not calls and not steps else "gaps" if gaps else "complete"
    return {"verdict": found, "basis": "no_gap_found", "gaps": list(gaps)}
