"""Owns model calls: every report of one call, by whatever layer, becomes one call with everything known of it.

Joined by: the same span (a span and its log records); the response's ID; a layer that encloses exactly one other; another
layer that overlaps in time with equal usage. A span that encloses several calls is an agent's run, whatever it calls itself.
"""

from __future__ import annotations

import itertools
import operator
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from auditlog.reconstruct.answers import closely, covered, merge_outputs
from auditlog.reconstruct.tree import Key, Tree, key_of
from auditlog.vocabulary import AgentRun, Message, MessageRecord, ModelCall, Tool, Usage, Where

SLACK = 2_000_000_000  # nanoseconds by which clocks and flushes of two layers of one call may differ


class Node:
    """What is known about one span (or one loose record) as a model call."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.facts: list[ModelCall] = []
        self.records: list[MessageRecord] = []
        self.joined_to: Node = self
        self.shared = False  # its span encloses other calls, too: then only log records tell when this one was

    def root(self) -> Node:
        here = self
        while here.joined_to is not here:
            here.joined_to = here.joined_to.joined_to
            here = here.joined_to
        return here

    @property
    def wheres(self) -> list[Where]:
        return [f.where for f in self.facts] + [r.where for r in self.records]

    @property
    def span(self) -> tuple[int, int]:
        spans = [w for w in self.wheres if w.log == self.shared] or self.wheres
        starts = [w.start for w in spans if w.start] or [w.end for w in spans]
        return min(starts), max(max(w.end, w.start) for w in spans)

    def said(self, field: str) -> set[Any]:
        return {v for f in self.facts if (v := getattr(f, field)) is not None}

    @property
    def tokens(self) -> tuple[int, int] | None:
        for fact in self.facts:
            if fact.usage is not None and fact.usage.input_tokens is not None and fact.usage.output_tokens is not None:
                return fact.usage.input_tokens, fact.usage.output_tokens
        return None

    def agrees(self, fact: ModelCall) -> bool:
        ids = self.said("response_id")
        if ids and fact.response_id is not None:
            return fact.response_id in ids
        if not fact.where.log or self.tokens is None or fact.usage is None or fact.usage.input_tokens is None:
            return True
        return self.tokens[0] == fact.usage.input_tokens and fact.usage.output_tokens in (None, self.tokens[1])

    @property
    def layers(self) -> set[str]:
        return {f.where.layer for f in self.facts if not f.where.log}


class JoinedCall:
    """One model call, with everything that any layer said about it."""

    def __init__(self, nodes: Sequence[Node], tree: Tree) -> None:
        self.keys = [n.key for n in nodes]
        self.wheres = sorted((w for n in nodes for w in n.wheres), key=lambda w: (w.start, w.event_id))
        self.event_ids = sorted({w.event_id for w in self.wheres})
        self.received_at = min(w.received_at for w in self.wheres)
        self.traces = sorted({w.trace_id for w in self.wheres if w.trace_id})
        spans = [n.span for n in nodes if n.shared or any(not w.log for w in n.wheres)] or [n.span for n in nodes]
        self.start, self.end = min(s for s, _ in spans), max(e for _, e in spans)
        facts = [(tree.depth(n.key), f) for n in nodes for f in n.facts]
        rich = [f for _, f in (sorted(facts, key=lambda p: (-_richness(p[1]), -p[0], p[1].where.event_id)) if len(facts) > 1 else facts)]
        deep = [f for _, f in sorted(facts, key=lambda p: (-p[0], p[1].where.log, *_lasted(p[1])))]
        records = sorted((r for n in nodes for r in n.records), key=lambda r: (r.where.start, r.where.order, r.where.event_id))
        self.requested_model = _first(rich, "requested_model")
        self.response_model = _first(deep, "response_model")
        self.response_id = _first(deep, "response_id")
        self.provider = _first(rich, "provider")
        self.finish_reason = _first(rich, "finish_reason") or next((r.finish_reason for r in records if r.finish_reason), None)
        self.agent: str | None = _first(rich, "agent")
        self.error: str | None = _first(deep, "error")
        self.cost_usd: float | None = _first(deep, "cost_usd")
        self.parameters: dict[str, Any] = {}
        for fact in reversed(rich):
            self.parameters.update(fact.parameters)
        self.usage = _usage(deep)
        self.tools: tuple[Tool, ...] | None = max((f.tools for f in rich if f.tools is not None), key=_tools_known, default=None)
        self.system = list(dict.fromkeys(s for f in rich for s in f.system))
        heard = [f.input for f in rich] + [tuple(r.message for r in records if r.direction == "input")]
        told = [f.output for f in rich] + [tuple(r.message for r in records if r.direction == "output")]
        heard = [h for h in heard if h]
        self.input: tuple[Message, ...] = max(heard, key=_parts) if len(heard) > 1 else heard[0] if heard else ()
        self.output = merge_outputs(told)

    def stated_by(self, where: Where) -> None:
        self.wheres.append(where)
        self.event_ids = sorted({*self.event_ids, where.event_id})

    @property
    def order(self) -> tuple[int, int, int, list[str]]:
        """Where clocks cannot tell (some have whole milliseconds), a prompt stands after those that it extends."""
        return self.start, self.end, len(self.input), self.event_ids


PARTS = operator.attrgetter("parts")


def _parts(messages: Iterable[Message]) -> int:
    return sum(map(len, map(PARTS, messages)))


def fresh(calls: Iterable[JoinedCall]) -> Iterator[tuple[int, Message]]:
    """(ordinal of the call, message) of each message that a prompt does not share with the prompt before it: linear in what was said."""
    before: tuple[Message, ...] = ()
    for n, call in enumerate(calls):
        shared = len(before) if len(before) <= len(call.input) and call.input[: len(before)] == before else 0
        yield from ((n, m) for m in call.input[shared:])
        before = call.input


def _richness(fact: ModelCall) -> int:
    return 4 * _parts(fact.output) + _parts(fact.input) + len(fact.tools or ()) + 2 * len(fact.system) + (fact.usage is not None)


def _lasted(fact: ModelCall) -> tuple[int, str]:
    """Of layers side by side, the one that took less time is the inner one, closer to the provider."""
    return max(fact.where.end - fact.where.start, 0), fact.where.event_id


def _tools_known(tools: tuple[Tool, ...]) -> tuple[int, int]:
    return len(tools), sum(t.parameters is not None for t in tools)


def _first(facts: Iterable[ModelCall], field: str) -> Any:
    return next((v for f in facts if (v := getattr(f, field)) is not None), None)


def _usage(facts: Sequence[ModelCall]) -> Usage | None:
    """Field by field, the word of the layer closest to the provider."""
    said = [f.usage for f in facts if f.usage is not None]
    if not said:
        return None
    names = Usage.__struct_fields__
    return Usage(**{name: next((v for u in said if (v := getattr(u, name)) is not None), None) for name in names})


# -- joining -------------------------------------------------------------------------------------------------------------------


def join(
    facts: Iterable[ModelCall], records: Iterable[MessageRecord], tree: Tree
) -> tuple[list[JoinedCall], list[AgentRun], list[MessageRecord]]:
    """(calls in order, spans that turned out to enclose several calls, records that belong to no call)."""
    nodes: dict[Key, Node] = {}
    for fact in sorted(facts, key=lambda f: (f.where.log, f.where.start, f.where.event_id)):
        _node_for(fact, nodes).facts.append(fact)
    loose = _place(records, nodes, tree)
    _by_response(nodes.values())
    _by_request(nodes.values())
    aggregates = _by_enclosure(nodes, tree)
    _by_overlap([n for n in nodes.values() if n.key not in aggregates])
    groups: dict[Key, list[Node]] = defaultdict(list)
    for node in nodes.values():
        if node.key not in aggregates:
            groups[node.root().key].append(node)
    calls = sorted((JoinedCall(group, tree) for group in groups.values()), key=lambda c: c.order)
    return calls, [_as_run(f) for key in sorted(aggregates) for f in nodes[key].facts], loose


def _node_for(fact: ModelCall, nodes: dict[Key, Node]) -> Node:
    """The node of the fact's span. Records that contradict what is known of it report another call within the same span."""
    key = key_of(fact.where)
    node = nodes.setdefault(key, Node(key))
    if node.facts and not node.agrees(fact):
        node.shared = True
        told = fact.usage and (fact.usage.input_tokens, fact.usage.output_tokens)  # all that two dialects read alike
        other = (key[0], f"{key[1]}#{fact.response_id or told}")
        node = nodes.setdefault(other, Node(other))
    return node


def _place(records: Iterable[MessageRecord], nodes: dict[Key, Node], tree: Tree) -> list[MessageRecord]:
    """Gives each record to the call of its span. Where that span was never received, an answer among the records is a call."""
    waiting: dict[Key, list[MessageRecord]] = defaultdict(list)
    loose: list[MessageRecord] = []
    for record in sorted(records, key=lambda r: (r.where.start, r.where.order, r.where.event_id)):
        key = key_of(record.where)
        if key in nodes:
            nodes[key].records.append(record)
        elif record.where.log and record.where.span_id and key not in tree.spans:
            waiting[key].append(record)
        else:
            loose.append(record)
    for key, found in waiting.items():
        if not any(r.direction == "output" for r in found):
            loose += found
            continue
        node: Node | None = None
        for record in found:
            if node is None or (record.direction == "input" and any(r.direction == "output" for r in node.records)):
                node = Node((f"{key[0]}/{key[1]}", record.where.event_id))
                nodes[node.key] = node
            node.records.append(record)
    return loose


def _by_response(nodes: Iterable[Node]) -> None:
    by_id: dict[str, list[Node]] = defaultdict(list)
    for node in sorted(nodes, key=lambda n: (n.span, n.key)):
        for response_id in node.said("response_id"):
            by_id[response_id].append(node)
    for same in by_id.values():
        for i, node in enumerate(same):
            for other in same[i + 1 : i + 9]:  # layers of one call are neighbours in time
                if node.root() is not other.root() and (_overlap(node, other) or (node.tokens is not None and node.tokens == other.tokens)):
                    other.root().joined_to = node.root()


def _by_request(nodes: Iterable[Node]) -> None:
    """Joins the item that carries a streamed answer to the one before it that carries only the same request."""
    by_key: dict[tuple[str, str], list[Node]] = defaultdict(list)
    for node in sorted(nodes, key=lambda n: (n.span, n.key)):
        for key in node.said("request_key"):
            by_key[node.key[0], key].append(node)
    for same in by_key.values():
        for asked, answered in itertools.pairwise(same):
            if not any(f.output or f.usage for f in asked.facts) and any(f.output or f.usage for f in answered.facts):
                answered.root().joined_to = asked.root()


def _overlap(a: Node, b: Node, slack: int = SLACK) -> bool:
    (a0, a1), (b0, b1) = a.span, b.span
    return a0 <= b1 + slack and b0 <= a1 + slack


def _by_enclosure(nodes: dict[Key, Node], tree: Tree) -> set[Key]:
    """Joins a layer that encloses exactly one call to it; returns the spans that enclose several."""
    inside: dict[Key, list[Node]] = defaultdict(list)
    memo: dict[Key, Key | None] = {}
    for node in nodes.values():
        outer = tree.nearest(node.key, nodes, memo)
        if outer is not None:
            inside[outer].append(node)
    aggregates: set[Key] = set()
    for key in sorted(inside, key=lambda k: (-tree.depth(k), k)):
        outer_node = nodes[key]
        children = _children(inside[key], inside, aggregates)
        roots = {c.root().key: c.root() for c in children}
        if outer_node.root().key in roots:
            if len({i for c in children for i in c.said("response_id")}) > 1:
                aggregates.add(key)  # it repeats one of several responses that came while it lasted
            continue  # the response's ID has already said which of them it is
        if len(roots) == 1:
            child = next(iter(roots.values()))
            ids, own = child.said("response_id"), outer_node.said("response_id")
            if not (ids and own and ids.isdisjoint(own)):
                outer_node.root().joined_to = child
        elif roots:
            aggregates.add(key)
    return aggregates


def _children(direct: list[Node], inside: dict[Key, list[Node]], aggregates: set[Key]) -> list[Node]:
    """The calls inside, looking through those that are themselves only wrappers around several."""
    out: list[Node] = []
    todo = list(direct)
    while todo:
        node = todo.pop()
        if node.key in aggregates:
            todo += inside.get(node.key, [])
        else:
            out.append(node)
    return out


def _by_overlap(nodes: Sequence[Node]) -> None:
    """Joins two layers that saw the same call without knowing of each other: equal usage at the same time."""
    by_tokens: dict[tuple[int, int], list[tuple[Node, tuple[int, int], set[str]]]] = defaultdict(list)
    for node in sorted(nodes, key=lambda n: (n.span, n.key)):
        if node.tokens is not None and node.tokens != (0, 0) and (layers := node.layers):
            by_tokens[node.tokens].append((node, node.span, layers))
    for same in by_tokens.values():
        for i, (node, span, layers) in enumerate(same):
            for other, begun, others in same[i + 1 : i + 33]:
                if begun[0] > span[1] or span[0] > begun[1] or layers & others or node.root() is other.root():
                    continue
                ids, own = node.said("response_id"), other.said("response_id")
                if not (ids and own and ids.isdisjoint(own)):
                    other.root().joined_to = node.root()
                    break


def _as_run(fact: ModelCall) -> AgentRun:
    return AgentRun(
        where=fact.where,
        name=fact.agent,
        system=fact.system,
        tools=fact.tools,
        input=fact.input,
        output=fact.output,
        usage=fact.usage,
        error=fact.error,
    )


def enrich(calls: Sequence[JoinedCall], runs: Sequence[AgentRun], tree: Tree) -> None:
    """A span around exactly one call, whose own output repeats that call's answer, may know more of the answer."""
    telling = {key_of(r.where): r for r in runs if r.output}
    inside: dict[Key, list[JoinedCall]] = defaultdict(list)
    memo: dict[Key, Key | None] = {}
    for call in calls:
        outer = {found for key in call.keys if (found := tree.nearest(key, telling, memo)) is not None}
        for key in outer:
            inside[key].append(call)
    for key, enclosed in inside.items():
        if len(enclosed) != 1:
            continue
        told = telling[key].output
        parts = [p for m in told for p in m.parts]
        call = enclosed[0]
        if not call.output or not closely(parts, call.output) or any(covered(p, list(call.output)) is not None for p in parts):
            call.output = merge_outputs([(Message("assistant", tuple(call.output)),), told])
            call.stated_by(telling[key].where)
