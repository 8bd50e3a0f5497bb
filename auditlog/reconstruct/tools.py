"""Owns tool runs: joins the reports of one execution, and gives each to the call that the model wrote."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any

from auditlog.reconstruct.keys import arguments_key
from auditlog.reconstruct.step import AFTER, UNIQUE, Step, Tooling, made_up
from auditlog.reconstruct.steps import Builder
from auditlog.reconstruct.tree import Tree, key_of
from auditlog.reconstruct.wrapped import decorated
from auditlog.vocabulary import Call, ToolRun, Where

LOG_SLACK = 250_000_000  # nanoseconds after its end in which a library writes down what it did


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
        if run.where.log and same is not None and (same.runs[0].name != run.name or not _agree(same, run)):
            same = None  # a record within the span of something else
        if same is None and run.call_id:
            # Some count their IDs in every answer anew: what ended before this one began will overlap with no later one either.
            by_id[run.call_id] = [j for j in by_id[run.call_id] if max(j.end, j.start) + LOG_SLACK >= run.where.start]
            same = next((j for j in by_id[run.call_id] if _overlap(j, run) and _same_id(j, run)), None)
        if same is None and enclosing is not None and enclosing.runs[0].name == run.name and _agree(enclosing, run):
            same = enclosing
        if same is None:
            same = _other_layer(out[-8:], run)
        if same is None:
            same = JoinedRun(run)
            out.append(same)
        elif run not in same.runs:
            same.runs.append(run)
        if not run.where.log:
            by_span[key] = same
        if run.call_id and same not in by_id[run.call_id]:
            by_id[run.call_id].append(same)
    return sorted(out, key=lambda j: j.order)


def _overlap(joined: JoinedRun, run: ToolRun) -> bool:
    slack = LOG_SLACK if run.where.log or any(w.log for w in joined.wheres) else 0
    return joined.start <= max(run.where.end, run.where.start) + slack and run.where.start <= max(joined.end, joined.start) + slack


def _same_id(joined: JoinedRun, run: ToolRun) -> bool:
    """Whether the ID that both carry means one call: a short one may be that of another agent's call at the same time."""
    return len(run.call_id or "") >= UNIQUE or (joined.runs[0].name == run.name and _agree(joined, run))


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


class Waiting:
    """The calls that no run was given to yet, by what they are looked up by, each list in the order of the session."""

    def __init__(self, builder: Builder) -> None:
        self.by_id = {call_id: deque(steps) for call_id, steps in builder.by_id.items()}
        self.by_key = {key: _in_order(steps) for key, steps in builder.by_key.items()}
        self.by_name = {name: _in_order(steps) for name, steps in builder.unanswered.items()}


def _in_order(steps: Iterable[Step]) -> list[Step]:
    return sorted((s for s in steps if s.tool is not None and not s.tool.ran), key=lambda s: s.place)


def place_runs(runs: Iterable[JoinedRun], builder: Builder) -> None:
    """Gives each run to the call that it executed: by ID, else by name and arguments in order, else by name in order."""
    waiting = list(runs)
    for match in (_by_id, _by_arguments, _by_name, _under_another_id):
        calls = Waiting(builder)
        waiting = [run for run in waiting if not match(run, calls)]
    for run in waiting:
        call = Call(run.runs[0].name, run.call_id, run.first("arguments"), run.first("arguments_raw"))
        _give(run, builder.add_call(call, (run.start, 1 << 28, AFTER, 0), run.start, run.wheres))
    for step in builder.steps:
        if step.tool is not None and step.tool.error:
            for span in step.tool.spans:
                builder.errors.tell(span, step.tool.error)


def _by_id(run: JoinedRun, calls: Waiting) -> bool:
    for call_id in sorted({r.call_id for r in run.runs if r.call_id}):
        steps = calls.by_id.get(call_id, deque())
        while steps and (steps[0].tool is None or steps[0].tool.ran):
            steps.popleft()
        for step in steps:
            if step.tool is not None and not step.tool.ran and (step.tool.name == run.runs[0].name or len(call_id) >= UNIQUE):
                _give(run, step)
                return True
    return False


def _by_arguments(run: JoinedRun, calls: Waiting) -> bool:
    key = run.key
    return key is not None and _to_next(run, calls.by_key.get((run.runs[0].name, key), []))


def _by_name(run: JoinedRun, calls: Waiting) -> bool:
    """Where the arguments of either side were not recorded, or the library rewrote them on the way."""
    return _to_next(run, calls.by_name.get(run.runs[0].name, []), before=run.end)


def _under_another_id(run: JoinedRun, calls: Waiting) -> bool:
    """A library may name an execution otherwise than the model named the call, or number calls where the provider gave them no IDs."""
    if run.call_id is None or run.call_id in calls.by_id:
        return False  # the model's answer knows that ID: it is that call or none
    steps, key = calls.by_name.get(run.runs[0].name, []), run.key
    for place, step in enumerate(steps):
        tool = step.tool
        if step.place[0] > run.start + LOG_SLACK:
            return False
        if tool is None or tool.ran or (key is not None and key != tool.key[1]):
            continue
        tool.ids.add(run.call_id)
        tool.call_id = run.call_id if made_up(tool) else tool.call_id
        _give(run, step)
        del steps[place]
        return True
    return False


def _to_next(run: JoinedRun, steps: list[Step], before: int = 0) -> bool:
    for place, step in enumerate(steps):
        tool = step.tool
        if before and step.place[0] > before and not step.from_prompt:
            return False  # the model had not asked for it yet
        if tool is None or tool.ran or (run.call_id and tool.call_id and run.call_id not in tool.ids):
            continue
        if run.call_id and not tool.call_id:
            tool.call_id = run.call_id
        _give(run, step)
        del steps[place]
        return True
    return False


def _give(run: JoinedRun, step: Step) -> None:
    tool = step.tool
    if tool is None:
        return
    tool.ran = True
    tool.executed = any(r.returned or r.where.end > r.where.start for r in run.runs)
    tool.spans = [key_of(w) for w in run.wheres]
    step.stated_by(run.wheres)
    step.agent = step.agent or run.first("agent")
    tool.started, tool.ended = run.start, run.end
    if tool.arguments is None and tool.arguments_raw is None:
        tool.arguments, tool.arguments_raw = run.first("arguments"), run.first("arguments_raw")
    else:
        tool.executed_arguments = _changed(tool, run)
    if tool.call_id is None:
        tool.call_id = run.call_id
    error = run.first("error")
    if error is not None:
        tool.error, tool.failed = tool.error or error, True
    answered = next((r for r in run.runs if r.returned), None)
    if answered is not None and (not tool.returned or decorated(tool.result, answered.result)):
        tool.result, tool.returned = answered.result, True


def _changed(tool: Tooling, run: JoinedRun) -> Any:
    """What the tool ran with, where somebody changed it after the model had written it; what shares no name with it is another record."""
    ran, wrote = run.first("arguments"), tool.arguments
    if not (isinstance(ran, dict) and isinstance(wrote, dict)) or ran.keys().isdisjoint(wrote):
        return None
    return ran if arguments_key(ran, None) != arguments_key(wrote, None) else None


def outcome(tool: Tooling) -> str:
    """returned, failed, refused, or unknown: it may have happened.

    A refusal is told to the model as if it were the tool's answer; only an execution that succeeded says otherwise.
    """
    if tool.refused and not (tool.executed and not tool.failed and tool.error is None):
        return "refused"
    if tool.failed or tool.error is not None:
        return "failed"
    return "returned" if tool.returned else "unknown"
