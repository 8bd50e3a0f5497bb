"""Owns the timeline: from a session's stored items to what happened, each thing once, in the order in which it happened.

The answer depends on the items alone: not on the order in which they arrived, nor on how often.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from auditlog.normalise.identity import best_session, identify, role_of
from auditlog.normalise.read import read_all
from auditlog.reconstruct import decisions, gaps, histories, trail
from auditlog.reconstruct.calls import JoinedCall, enrich, fresh, join
from auditlog.reconstruct.errors import Told
from auditlog.reconstruct.keys import of_schema
from auditlog.reconstruct.order import placed, put_back
from auditlog.reconstruct.origins import Haystack, Search
from auditlog.reconstruct.scalars import scalars
from auditlog.reconstruct.schemas import UNKNOWN, Checker, Verdict
from auditlog.reconstruct.step import UNNAMED, Step, Tooling
from auditlog.reconstruct.steps import Builder
from auditlog.reconstruct.tools import join_runs, outcome, place_runs
from auditlog.reconstruct.tree import Key, Tree, key_of
from auditlog.vocabulary import AgentRun, Call, Failure, Happening, MessageRecord, ModelCall, Reading, Received, Tool, ToolRun

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BY_ARGUMENT = 80  # rank of a subject that only the arguments of a call name
FALLBACK_RANK = 90  # names that stand in where nobody named an agent
Fact = TypeVar("Fact")


def timeline(
    events: Iterable[Received], *, key: str = "", session_id: str | None = None, findings: Sequence[dict[str, Any]] = (), brief: int = 0
) -> dict[str, Any]:
    """The contract's Timeline. `session_id` None: the best one that the items declare, else that of the trace.

    Of a session of at most `brief` steps, what only a reader of a call asks for is left out: its origins, and what lacks at it.
    """
    session, names = session_of(events)
    return put_back(session.timeline(key, session_id, list(findings), brief), names)


def session_of(events: Iterable[Received]) -> tuple[Session, dict[str, str]]:
    """(what the items say, joined; the event ID behind each name by which it calls them)."""
    received, names = placed(events)
    read = read_all(received)
    readings = sorted(read, key=lambda r: (r.where.start, r.where.end, r.where.event_id))
    said = [trail.Said(r.where.trace_id, identify(e.item)) for r, e in zip(read, received, strict=True)]
    return Session(readings, said), names


def facts_of(readings: Iterable[Reading], kind: type[Fact]) -> list[Fact]:
    return [f for r in readings for f in r.facts if isinstance(f, kind)]


def stamp(nanoseconds: int) -> str | None:
    """RFC 3339 in UTC with microseconds; None for what was not sent or lies outside the calendar."""
    if not nanoseconds:
        return None
    try:
        return (EPOCH + timedelta(microseconds=nanoseconds // 1000)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except OverflowError:
        return None


class Session:
    def __init__(self, readings: list[Reading], said: list[trail.Said]) -> None:
        self.readings, self.said = readings, said
        self.identities = [s.identity for s in said]
        self.tree = Tree(r.where for r in readings)
        self.calls, wrappers, loose = join(facts_of(readings, ModelCall), facts_of(readings, MessageRecord), self.tree)
        self.runs = facts_of(readings, AgentRun) + wrappers
        enrich(self.calls, self.runs, self.tree)
        in_prompts = {p.call_id for _, m in fresh(self.calls) for p in m.parts if isinstance(p, Call) and p.call_id}
        builder = Builder(in_prompts, Told(self.tree))
        for n, call in enumerate(self.calls):
            builder.model_call(n, call)
        for record in loose:
            builder.record(record)
        place_runs(join_runs(facts_of(readings, ToolRun), self.tree), builder)
        for run in sorted(self.runs, key=lambda r: (r.where.start, -r.where.end, r.where.event_id)):
            builder.agent_run(run)
        if not self.calls:
            histories.tell(builder, self.runs)
        happenings = facts_of(readings, Happening)
        decisions.tell_errors(builder, happenings)
        builder.failures(facts_of(readings, Failure) + [Failure(r.where, r.error) for r in self.runs if r.error])
        builder.results_without_calls()
        for happening in happenings:
            decisions.happening(builder, happening)
        decisions.from_prompts(builder)
        self.checker = Checker()
        self.systems = builder.systems
        self.said_by_runs = {key_of(r.where): r.tools for r in self.runs if r.tools}
        self.nearest_saying: dict[Key, Key | None] = {}
        self._name_agents(builder.steps)
        self.steps = sorted(builder.steps, key=lambda s: (s.place, s.kind, sorted(s.event_ids)))

    def _name_agents(self, steps: list[Step]) -> None:
        """Where an item does not say whose work it tells of, the closest agent's run around it does."""
        named = {key_of(r.where): r.name for r in self.runs if r.name}
        memo: dict[Key, Key | None] = {}

        def around(keys: list[Key]) -> str | None:
            found = (k if k in named else self.tree.nearest(k, named, memo) for k in keys)
            return next((named[k] for k in found if k is not None), None)

        for call in self.calls:
            call.agent = call.agent or around(call.keys)
        for step in steps:
            if step.agent is None and step.kind != "user_message":
                step.agent = self.calls[step.call].agent if step.call is not None else around(step.places)

    # -- the parts of the answer -----------------------------------------------------------------------------------------------

    def timeline(self, key: str, session_id: str | None, findings: list[dict[str, Any]], brief: int = 0) -> dict[str, Any]:
        traces = sorted({r.where.trace_id for r in self.readings if r.where.trace_id})
        declared = best_session(d for i in self.identities for d in i.sessions)
        times = [t for r in self.readings for t in (r.where.start, r.where.end) if t]
        start, end = (min(times), max(times)) if times else (0, 0)
        agents = self.agents()
        counted = trail.of_sequence(self.readings)
        found = [*self.find_gaps(), *counted.gaps]
        return {
            "key": key,
            "session_id": session_id
            if session_id is not None
            else declared
            if declared is not None
            else f"trace:{traces[0]}"
            if traces
            else None,
            "trace_ids": traces,
            "agent": agents[0] if agents else {"name": None, "version": None},
            "agents": agents,
            "user_ids": self.subjects("users"),
            "customer_ids": self.subjects("customers"),
            "started_at": stamp(start),
            "ended_at": stamp(end),
            "totals": self.totals(start, end),
            "system_prompts": [
                {"text": text, "first_step": self.step_at(at)} for text, at in sorted(self.systems.items(), key=lambda p: (p[1], p[0]))
            ],
            "tools_offered": self.tools_offered(),
            "steps": self.shown_steps(found, counted.proven, len(self.steps) <= brief),
            "model_calls": [shown_call(n, call) for n, call in enumerate(self.calls)],
            "completeness": gaps.verdict(found, self.calls, self.steps, counted.proven),
            "findings": findings,
        }

    def find_gaps(self) -> list[gaps.Gap]:
        return [
            *gaps.told(gaps.of_calls(self.calls, self.steps, bool(self.systems)), trail.withheld(self.readings)),
            *gaps.told(gaps.of_steps(self.steps, self.calls, self.tools_of), trail.withheld(self.readings)),
            *trail.of_items(self.readings, self.tree),
            *trail.of_identity(self.said),
        ]

    def subjects(self, kind: str) -> list[str]:
        best: dict[str, int] = {}
        for identity in self.identities:
            for declared in getattr(identity, kind):
                best[declared.value] = min(declared.rank, best.get(declared.value, declared.rank))
        if not best:  # nobody declared one: those that the calls were about
            for step in self.steps:
                for pointer, value in scalars(step.tool.arguments if step.tool is not None else None):
                    role = role_of(pointer.rsplit("/", 1)[-1], True)
                    if role is not None and f"{role.kind}s" == kind and isinstance(value, str):
                        best[value] = BY_ARGUMENT
        return sorted(best, key=lambda value: (best[value], value))

    def agents(self) -> list[dict[str, Any]]:
        """The outermost agent first. Names that only stand in are shown where there is no other."""
        started: dict[str, int] = {}
        for run in self.runs:
            if run.name and run.where.start < started.get(run.name, 1 << 64):
                started[run.name] = run.where.start
        best: dict[str, tuple[int, str | None]] = {}
        for identity in self.identities:
            for agent in identity.agents:
                rank, version = best.get(agent.name, (agent.rank, agent.version))
                best[agent.name] = min(rank, agent.rank), min((v for v in (version, agent.version) if v), default=None)
        named = {name: found for name, found in best.items() if found[0] < FALLBACK_RANK}
        chosen = named or best
        ordered = sorted(chosen, key=lambda name: (chosen[name][0] >= 20, started.get(name, 1 << 64), chosen[name][0], name))
        versions = {version for _, version in best.values() if version}
        return [
            {"name": n, "version": chosen[n][1] or (next(iter(versions)) if len(versions) == 1 == len(chosen) else None)} for n in ordered
        ]

    def totals(self, start: int, end: int) -> dict[str, Any]:
        """Sums over model calls alone: agents' and roots' spans repeat the same tokens. None: no call told."""
        out: dict[str, Any] = {"model_calls": len(self.calls), "tool_calls": sum(s.tool is not None for s in self.steps)}
        for name in ("input_tokens", "output_tokens", "reasoning_tokens"):
            told = [v for c in self.calls if c.usage is not None and (v := getattr(c.usage, name)) is not None]
            out[name] = sum(told) if told else None
        costs = [c.cost_usd for c in self.calls if c.cost_usd is not None]
        out["cost_usd"] = round(sum(costs), 9) if costs else None
        out["seconds"] = round((end - start) / 1e9, 6) if start else 0.0
        return out

    def step_at(self, at: int) -> int:
        """The first step at or after a time."""
        return next((n for n, s in enumerate(self.steps) if s.place[0] >= at), max(len(self.steps) - 1, 0))

    def tools_offered(self) -> list[dict[str, Any]]:
        offered: dict[tuple[str, bytes], tuple[int, Tool]] = {}
        said = [(c.start, c.tools) for c in self.calls] + [(r.where.start, r.tools) for r in self.runs]
        seen: set[int] = set()  # one list of tools, parsed once, stands in every request of a session
        for at, tools in sorted(((at, tools) for at, tools in said if tools), key=lambda p: p[0]):
            if id(tools) in seen:
                continue
            seen.add(id(tools))
            for tool in tools:
                offered.setdefault((tool.name, of_schema(tool.parameters)), (at, tool))
        if not offered:  # a tool that ran was there, even where no request says so
            for run in sorted(facts_of(self.readings, ToolRun), key=lambda r: (r.where.start, r.where.event_id)):
                if run.tool is not None:
                    offered.setdefault((run.tool.name, of_schema(run.tool.parameters)), (run.where.start, run.tool))
        known = {r.tool.name: r.tool for r in facts_of(self.readings, ToolRun) if r.tool is not None and r.tool.parameters is not None}
        for (name, _), (at, tool) in list(offered.items()):
            if tool.parameters is None and name in known:  # the request names the tool, its own span knows its schema
                offered[(name, of_schema(known[name].parameters))] = (at, known[name])
        with_schema = {name for (name, _), (_, tool) in offered.items() if tool.parameters is not None}
        return [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "first_step": self.step_at(at)}
            for (name, _), (at, tool) in offered.items()
            if tool.parameters is not None or name not in with_schema
        ]

    def shown_steps(self, found: list[gaps.Gap], proven: bool, brief: bool) -> list[dict[str, Any]]:
        if brief:
            return [self.shown_step(n, step) for n, step in enumerate(self.steps)]
        search, lacking = Search(Haystack(self.systems)), gaps.Lacking(found, proven)
        out: list[dict[str, Any]] = []
        last = max((n for n, s in enumerate(self.steps) if s.tool is not None), default=-1)
        for n, step in enumerate(self.steps):
            shown = self.shown_step(n, step)
            if step.tool is not None:
                shown["tool"]["origins"] = search.origins(step.tool.arguments)
                shown["completeness"] = lacking.of_action(n, step)
            out.append(shown)
            if n < last:
                search.add(n, step)
        return out

    def shown_step(self, n: int, step: Step) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "n": n,
            "kind": step.kind,
            "at": stamp(step.at),
            "model_call": step.call,
            "event_ids": sorted(step.event_ids),
        }
        shown["received_at"] = (
            step.received_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z") if step.received_at else None
        )
        shown["agent"], shown["actor"] = step.agent, step.actor
        if step.tool is None:
            shown["text"] = step.text
        if step.kind == "reasoning":
            shown["form"] = step.form or "unknown"
        if step.detail:
            shown["detail"] = step.detail
        tool = step.tool
        if tool is not None:
            shown["ended_at"] = stamp(tool.ended)
            shown["started_at"] = stamp(tool.started)
            valid, errors = self.checked(step, tool)
            shown["tool"] = {
                "call_id": tool.call_id,
                "name": tool.name or UNNAMED,
                "arguments": tool.arguments,
                "arguments_raw": tool.arguments_raw,
                "result": tool.result,
                "error": tool.error,
                "offered": self.offered(step),
                "arguments_valid": valid,
                "validation_errors": errors,
                "outcome": outcome(tool),
                "origins": None,
            }
            if tool.executed_arguments is not None:
                shown["tool"]["executed_arguments"] = tool.executed_arguments
        return shown

    def around(self, call: JoinedCall) -> tuple[Tool, ...] | None:
        """What the agent around the call says it could use, where the call itself does not say."""
        for key in call.keys:
            outer = key if key in self.said_by_runs else self.tree.nearest(key, self.said_by_runs, self.nearest_saying)
            if outer is not None:
                return self.said_by_runs[outer]
        return None

    def tools_of(self, step: Step) -> tuple[Tool, ...] | None:
        """The tools of the very request that the call answers; None where they were not recorded."""
        if step.call is None:
            return None
        own = self.calls[step.call].tools
        return own or self.around(self.calls[step.call]) or own  # (): the request says that none were offered

    def offered(self, step: Step) -> bool | None:
        tools = self.tools_of(step)
        return None if tools is None or step.tool is None else any(t.name == step.tool.name for t in tools)

    def checked(self, step: Step, tool: Tooling) -> Verdict:
        """The arguments against the schemas under which the tool was offered; None: there is nothing to check them against."""
        if tool.arguments is None:
            broken = tool.arguments_raw is not None and step.call is not None and not step.from_prompt
            return Verdict(False, [{"pointer": "", "message": "The arguments are not JSON."}]) if broken else UNKNOWN
        schemas = [t.parameters for t in self.tools_of(step) or () if t.name == tool.name and t.parameters is not None]
        found = [self.checker.check(schema, tool.arguments) for schema in schemas]
        return max(found, key=lambda v: (v.valid is True, v.valid is None), default=UNKNOWN)


def shown_call(n: int, call: JoinedCall) -> dict[str, Any]:
    usage = call.usage
    told = {} if usage is None else {f: v for f in usage.__struct_fields__ if (v := getattr(usage, f)) is not None}
    return {
        "n": n,
        "requested_model": call.requested_model,
        "response_model": call.response_model,
        "response_id": call.response_id,
        "provider": call.provider,
        "parameters": call.parameters,
        "agent": call.agent,
        "started_at": stamp(call.start),
        "ended_at": stamp(call.end),
        "usage": told,
        "finish_reason": call.finish_reason,
        "event_ids": call.event_ids,
    }
