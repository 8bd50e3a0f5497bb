"""Owns completeness: what a session's steps and model calls lack, each gap with a code, a step and a sentence that tells how to close it.

What the items themselves lack, whatever they say, is found by `trail`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from auditlog.reconstruct.calls import JoinedCall, fresh
from auditlog.reconstruct.step import Step, Tooling
from auditlog.reconstruct.tools import outcome
from auditlog.vocabulary import Media, Message, Tool

Gap = dict[str, Any]
Offered = Callable[[Step], tuple[Tool, ...] | None]
CODES: Final = (  # every gap that there is; docs/reference/sources.md says what each means
    "system_prompt_missing", "tools_missing", "schema_missing", "input_missing", "output_missing", "arguments_missing",
    "reasoning_missing", "reasoning_unmarked", "result_missing", "call_missing", "origin_not_recorded", "content_not_fetched",
    "content_withheld", "attributes_dropped", "events_dropped", "trace_sampled", "parent_missing", "sequence_hole",
    "sequence_repeated", "sequence_count_wrong", "clock_end_before_start", "clock_child_before_parent", "clock_result_before_call",
    "clock_after_receipt", "identity_contradictory", "not_understood", "undated", "session_cut", "content_disposed",
)  # fmt: skip
CAPTURE = "Enable content capture in the instrumentation."
WITHHELD = "It may be among the values that are not known any more."
EARLY = 1_000_000_000  # nanoseconds by which two clocks may differ before it is worth a word
AHEAD = 60_000_000_000  # the same of a sender's clock and ours: many are some seconds ahead, and nothing is told wrong by that


def gap(code: str, message: str, step: int | None = None, **more: Any) -> Gap:
    return {"code": code, "step": step, "message": message, **more}


def told(found: Iterable[Gap], withheld: int) -> Iterator[Gap]:
    """Of a session of which values are gone nobody is told that they were never sent."""
    for one in found:
        before, hint, _ = one["message"].partition(CAPTURE[:-1])
        yield one | {"message": before + WITHHELD} if hint and withheld else one


def of_calls(calls: Sequence[JoinedCall], steps: Sequence[Step], systems: bool) -> Iterator[Gap]:
    if calls and not systems:
        yield gap("system_prompt_missing", f"No system prompt was recorded. {CAPTURE[:-1]}, or send `system`.")
    told = {s.call for s in steps if s.kind == "reasoning" and s.text.strip()}
    kept_back = {s.call: s.form for s in steps if s.kind == "reasoning" and not s.text.strip()}
    heard: dict[int, list[Message]] = {}
    for n, new in fresh(calls):
        heard.setdefault(n, []).append(new)
    firsts = {s.call: n for n, s in reversed(list(enumerate(steps)))}
    for n, call in enumerate(calls):
        for code, message in _of_call(n, call, n in told, kept_back.get(n), heard.get(n, [])):
            yield gap(code, message, firsts.get(n), model_call=n)


def _of_call(n: int, call: JoinedCall, told: bool, kept_back: str | None, heard: Sequence[Message]) -> Iterator[tuple[str, str]]:
    billed = call.usage.reasoning_tokens if call.usage is not None else None
    if not told and (billed or kept_back):
        why = f"it is {kept_back}" if kept_back in ("encrypted", "redacted") else "its reasoning was not recorded"
        whose = f"{billed} reasoning tokens were billed for model call {n}" if billed else f"Model call {n} reasoned"
        hint = "Ask the provider for reasoning summaries and let the instrumentation capture them."
        yield "reasoning_missing", f"{whose}, but {why}. {hint}"
    if not call.output and not call.error:
        yield "output_missing", f"The answer of model call {n} was not recorded. {CAPTURE}"
    if not call.input:
        yield "input_missing", f"The prompt of model call {n} was not recorded. {CAPTURE}"
    for side, parts in (("prompt", [p for m in heard for p in m.parts]), ("answer", call.output)):
        names = sorted({p.uri for p in parts if isinstance(p, Media) and p.uri and not p.data and not p.uri.startswith("data:")})
        if names:
            yield (
                "content_not_fetched",
                f"A part of the {side} is only a reference to content that was never received ({names[0][:120]}"
                f"{f' and {len(names) - 1} more' if len(names) > 1 else ''}). Send the bytes, or their digest, with the part.",
            )


def of_steps(steps: Sequence[Step], calls: Sequence[JoinedCall], offered: Offered) -> Iterator[Gap]:
    checkable = [s for s in steps if s.tool is not None and s.call is not None]
    silent = bool(calls) and not any(c.tools is not None for c in calls) and all(offered(s) is None for s in checkable)
    if silent:
        yield gap(
            "tools_missing", "No tool definitions were recorded, so calls cannot be checked. Record the tools offered in each request."
        )
    for n, step in enumerate(steps):
        if step.tool is not None:
            found = [*_of_tool(step.tool), *_of_asking(step, step.tool, calls)]
            found += [] if silent or step.call is None else _of_check(step, step.tool, offered)
            yield from (gap(code, message, n) for code, message in found)
        elif step.kind == "reasoning" and step.form in (None, "unknown") and step.text.strip():
            yield gap(
                "reasoning_unmarked",
                "The sender does not say in which form this reasoning was given, or wrote it as ordinary text: that it is reasoning is "
                "concluded from its place and from what was billed. Record the provider's own response to have it said.",
                n,
            )
        if step.from_prompt and (step.tool is None or not step.tool.only_result):
            told = "Known only from a later prompt that repeats it: the model call that produced it was not received."
            yield gap("origin_not_recorded", f"{told} Export every span of the session, without sampling.", n)


def _named(tool: Tooling, article: str = "a") -> str:
    return tool.name or f"{article} tool whose name is not known"  # it may have been erased


def _of_tool(tool: Tooling) -> Iterator[tuple[str, str]]:
    ended = outcome(tool)
    if ended == "unknown":
        hint = "Record the tool's own execution, or its result in the next prompt."
        yield "result_missing", f"No result of the call to {_named(tool)} was recorded: it may have happened. {hint}"
    if tool.arguments is None and tool.arguments_raw is None and not tool.only_result:
        yield "arguments_missing", f"The arguments of the call to {_named(tool)} were not recorded. {CAPTURE}"


def _of_asking(step: Step, tool: Tooling, calls: Sequence[JoinedCall]) -> Iterator[tuple[str, str]]:
    """Whether it is known who asked for the call, and whether the times allow it."""
    if tool.only_result:
        hint = "Export every span of the session, without sampling."
        yield "call_missing", f"A result came back, but the call that it answers was never recorded. {hint}"
    elif calls and step.call is None and not step.from_prompt:
        hint = "Instrument the model's client, too, or send the model call."
        yield "call_missing", f"{_named(tool, 'A')} ran, but no recorded answer of a model asks for it. {hint}"
    asked = calls[step.call].start if step.call is not None else 0
    if tool.ended and asked and tool.ended + EARLY < asked:
        hint = "Synchronise the clocks of the machines that run the model's client and the tools."
        yield "clock_result_before_call", f"{_named(tool, 'A')} ended before the model was asked: two clocks contradict each other. {hint}"


def _of_check(step: Step, tool: Tooling, offered: Offered) -> Iterator[tuple[str, str]]:
    tools = offered(step)
    if tools is None:
        yield "tools_missing", f"The tools offered in this request were not recorded, so the call to {_named(tool)} cannot be checked."
    elif any(t.name == tool.name for t in tools) and not any(t.name == tool.name and t.parameters is not None for t in tools):
        hint = "Record the tools with their parameters."
        yield (
            "schema_missing",
            f"{_named(tool, 'A')} was offered, but not with which parameters, so its arguments cannot be checked. {hint}",
        )


# -- verdicts ------------------------------------------------------------------------------------------------------------------


def verdict(gaps: Sequence[Gap], calls: Sequence[JoinedCall], steps: Sequence[Step], proven: bool) -> dict[str, Any]:
    """Missing data never counts as evidence: a session in which nothing was understood is unevaluable, not complete."""
    found = "unevaluable" if not calls and not steps else "gaps" if gaps else "complete"
    return {"verdict": found, "basis": basis(proven), "gaps": list(gaps)}


def basis(proven: bool) -> str:
    return "sequence_proven" if proven else "no_gap_found"


class Lacking:
    """The verdict on each call: what lacks at its own step, in its model call, and in the trail as a whole."""

    def __init__(self, gaps: Sequence[Gap], proven: bool) -> None:
        self.basis = basis(proven)
        self.of_step: dict[int | None, dict[str, int]] = defaultdict(dict)  # codes with the place where each stands first
        self.of_call: dict[int, dict[str, int]] = defaultdict(dict)
        for place, found in enumerate(gaps):
            self.of_step[found["step"]].setdefault(found["code"], place)
            if found.get("model_call") is not None:
                self.of_call[found["model_call"]].setdefault(found["code"], place)

    def of_action(self, n: int, step: Step) -> dict[str, Any]:
        own: dict[str, int] = {}
        parts = (self.of_step.get(None), self.of_step.get(n), self.of_call.get(step.call) if step.call is not None else None)
        for code, place in (pair for part in parts if part for pair in part.items()):
            own[code] = min(place, own.get(code, place))
        codes = sorted(own, key=own.__getitem__)
        nothing = {"arguments_missing", "result_missing"} <= own.keys()
        return {"verdict": "unevaluable" if nothing else "gaps" if codes else "complete", "basis": self.basis, "gaps": codes}
