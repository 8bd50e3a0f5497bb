"""Owns tool runs: joins the reports of one execution, and gives each to the call that the model wrote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from auditlog.reconstruct.keys import arguments_key
from auditlog.reconstruct.step import AFTER, Step, Tooling
from auditlog.reconstruct.steps import Builder
from auditlog.reconstruct.tree import Tree, key_of
from auditlog.vocabulary import Call, ToolRun, Where


class JoinedRun:
    """One execution, as all its reports describe it."""

    def __init__(self, run: ToolRun) -> None:
        self.runs = [run]

    @property
    def wheres(self) -> list[Where]:
        return [r.where for r in self.runs]

    def first(self, field: str) -> Any:
        return next((v for r in self.runs if (v := getattr(r, field)) is not None), None)

    @property
    def call_id(self) -> str | None:
        found: str | None = self.first("call_id")
        return found

    @property
    def key(self) -> bytes | None:
        return next((k for r in self.runs if (k := arguments_key(r.arguments, r.arguments_raw)) is not None), None)

    @property
    def start(self) -> int:
        return min(w.start for w in self.wheres)

    @property
    def end(self) -> int:
        return max(w.end for w in self.wheres)

    @property
    def order(self) -> tuple[int, str]:
        return self.start, min(w.event_id for w in self.wheres)


def join_runs(facts: Iterable[ToolRun], tree: Tree) -> list[JoinedRun]:
    """One run per execution: reports of the same span, of the same call ID, and of a span within a span of the same tool."""
    ordered = sorted(facts, key=lambda r: (r.where.start, -r.where.end, r.where.event_id))
    by_span: dict[Any, JoinedRun] = {}
    by_id: dict[str, list[JoinedRun]] = defaultdict(list)
    out: list[JoinedRun] = []
    keys = {key_of(r.where) for r in ordered}
    memo: dict[Any, Any] = {}
    for run in ordered:
        key = key_of(run.where)
        outer = tree.nearest(key, keys, memo)
        enclosing = by_span.get(outer) if outer is not None else None
        same = by_span.get(key)
        if same is None and run.call_id:
            same = next((j for j in by_id[run.call_id] if _overlap(j, run)), None)
        if same is None and enclosing is not None and enclosing.runs[0].name == run.name and _agree(enclosing, run):
            same = enclosing
        if same is None:
            same = _other_layer(out[-8:], run)
        if same is None:
            same = JoinedRun(run)
            out.append(same)
        elif run not in same.runs:
            same.runs.append(run)
        by_span[key] = same
        if run.call_id and same not in by_id[run.call_id]:
            by_id[run.call_id].append(same)
    return sorted(out, key=lambda j: j.order)


def _overlap(joined: JoinedRun, run: ToolRun) -> bool:
    return joined.start <= max(run.where.end, run.where.start) and run.where.start <= max(joined.end, joined.start)


def _agree(joined: JoinedRun, run: ToolRun) -> bool:
    if joined.call_id and run.call_id and joined.call_id != run.call_id:
        return False
    key = arguments_key(run.arguments, run.arguments_raw)
    return key is None or joined.key is None or key == joined.key


def _other_layer(recent: list[JoinedRun], run: ToolRun) -> JoinedRun | None:
    """Another library's report of the same execution: same tool, same time, same arguments, a different layer."""
    for joined in reversed(recent):
        elsewhere = run.where.layer not in {w.layer for w in joined.wheres} and run.where.trace_id in {w.trace_id for w in joined.wheres}
        if elsewhere and joined.runs[0].name == run.name and _overlap(joined, run) and _agree(joined, run):
            return joined
    return None


def place_runs(runs: Iterable[JoinedRun], builder: Builder) -> None:
    """Gives each run to the call that it executed: by ID, else by name and arguments in order, else by name in order."""
    waiting = list(runs)
    for match in (_by_id, _by_arguments, _by_name):
        waiting = [run for run in waiting if not match(run, builder)]
    for run in waiting:
        step = builder.add_call(
            Call(run.runs[0].name, run.call_id, run.first("arguments"), run.first("arguments_raw")),
            (run.start, 1 << 28, AFTER, 0),
            run.start,
            run.wheres,
        )
        _give(run, step)


def _by_id(run: JoinedRun, builder: Builder) -> bool:
    for call_id in sorted({r.call_id for r in run.runs if r.call_id}):
        for step in builder.by_id.get(call_id, ()):
            if step.tool is not None and not step.tool.ran and step.tool.name == run.runs[0].name:
                _give(run, step)
                return True
    return False


def _by_arguments(run: JoinedRun, builder: Builder) -> bool:
    key = run.key
    if key is None:
        return False
    return _to_next(run, builder.by_key.get((run.runs[0].name, key), ()))


def _by_name(run: JoinedRun, builder: Builder) -> bool:
    """Where the arguments of either side were not recorded, or the library rewrote them on the way."""
    candidates = [s for s in builder.unanswered.get(run.runs[0].name, ()) if s.place[0] <= run.end or not run.end]
    return _to_next(run, candidates)


def _to_next(run: JoinedRun, steps: Iterable[Step]) -> bool:
    for step in sorted(steps, key=lambda s: s.place):
        tool = step.tool
        if tool is None or tool.ran or (run.call_id and tool.call_id and run.call_id not in tool.ids):
            continue
        if run.call_id and not tool.call_id:
            tool.call_id = run.call_id
        _give(run, step)
        return True
    return False


def _give(run: JoinedRun, step: Step) -> None:
    tool = step.tool
    if tool is None:
        return
    tool.ran = True
    step.stated_by(run.wheres)
    step.agent = step.agent or run.first("agent")
    tool.started, tool.ended = run.start, run.end
    if tool.arguments is None and tool.arguments_raw is None:
        tool.arguments, tool.arguments_raw = run.first("arguments"), run.first("arguments_raw")
    if tool.call_id is None:
        tool.call_id = run.call_id
    error = run.first("error")
    if error is not None:
        tool.error, tool.failed = tool.error or error, True
    answered = next((r for r in run.runs if r.returned), None)
    if answered is not None and not tool.returned:
        tool.result, tool.returned = answered.result, True


def outcome(tool: Tooling) -> str:
    """returned, failed, refused, or unknown: it may have happened."""
    if tool.refused:
        return "refused"
    if tool.failed or tool.error is not None:
        return "failed"
    return "returned" if tool.returned else "unknown"
