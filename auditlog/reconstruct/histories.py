"""Owns what is told of a conversation of which no call of a model was recorded, but only the state that a framework's run left."""

from __future__ import annotations

from collections.abc import Iterable

from auditlog.reconstruct.step import PROMPT
from auditlog.reconstruct.steps import Builder
from auditlog.vocabulary import AgentRun, Call, Message, Result


def tell(builder: Builder, runs: Iterable[AgentRun]) -> None:
    """Of the runs of one trace the one that has most to tell: those around and inside of it repeat it."""
    longest: dict[str, AgentRun] = {}
    for run in sorted(runs, key=lambda r: (-len(r.history), r.where.start, r.where.event_id)):
        if run.history:
            longest.setdefault(run.where.trace_id, run)
    for run in longest.values():
        time = run.where.start
        for index, message in enumerate(run.history):
            builder.agent_message(run, message, (time, 1 << 29, PROMPT, index))
            time = max(time, _done(builder, message))


def _done(builder: Builder, message: Message) -> int:
    """When the tools were done that this message calls or answers: what comes after it in the conversation came later."""
    ids = [p.call_id for p in message.parts if isinstance(p, Call | Result) and p.call_id]
    steps = [s for i in ids for s in builder.by_id.get(i, ())]
    return max((max(s.at, s.tool.ended) for s in steps if s.tool is not None), default=0)
