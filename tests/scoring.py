"""Owns the score of a timeline against a captured case: the facts it gives back, and the things it shows twice or invents.

A fact counts only if the payload carries it. Texts must be verbatim, arguments and results equal as JSON.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any


class Score:
    def __init__(self) -> None:
        self.facts = self.shown = self.wrong = 0
        self.missing: list[str] = []
        self.extra: list[str] = []

    def check(self, ok: bool, what: str) -> None:
        self.facts += 1
        if not ok:
            self.missing.append(what)

    def too_many(self, count: int, what: str) -> None:
        if count > 0:
            self.wrong += count
            self.extra.append(f"{what}: {count}")

    def add(self, other: Score) -> None:
        self.facts, self.shown, self.wrong = self.facts + other.facts, self.shown + other.shown, self.wrong + other.wrong
        self.missing += other.missing
        self.extra += other.extra

    @property
    def recall(self) -> float:
        return 1 - len(self.missing) / max(self.facts, 1)

    @property
    def precision(self) -> float:
        return 1 - self.wrong / max(self.shown, 1)


def norm(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {k: norm(v) for k, v in value.items()}
    return [norm(v) for v in value] if isinstance(value, list) else value


def canon(value: Any) -> str:
    return json.dumps(norm(value), sort_keys=True, ensure_ascii=False)


def inside(value: Any, depth: int = 0) -> Iterator[str]:
    """Every value inside, JSON strings decoded: a result may be wrapped or encoded twice by the library that sent it."""
    if value is None or depth > 8:
        return
    yield canon(value)
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from inside(inner, depth + 1)
    elif isinstance(value, str) and value[:1] in '[{"' and len(value) > 1:
        try:
            yield from inside(json.loads(value), depth + 1)
        except ValueError:
            return


def flat(text: str | None) -> str:
    return "".join((text or "").split())


def same(a: Any, b: Any) -> bool:
    return isinstance(a, str) and isinstance(b, str) and a.strip() == b.strip()


def of_case(case: dict[str, Any], timelines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that one finds: by the session's ID where the payload carries it, else by its traces."""
    session = next(f for f in case["facts"] if f["kind"] == "session_id")
    named = [t for t in timelines if session["carried"] and t["session_id"] == session["value"]]
    return named or [t for t in timelines if set(t["trace_ids"]) & set(case["trace_ids"])]


def score(case: dict[str, Any], timelines: list[dict[str, Any]]) -> Score:
    found = Score()
    timelines = of_case(case, timelines)
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for step in (s for t in timelines for s in t["steps"]):
        by_kind[step["kind"]].append(step)
    used: set[int] = set()
    for fact in case["facts"]:
        if fact["carried"] and fact["value"] is not None:
            if fact["kind"] == "tool_call":
                _tool_call(found, fact, by_kind["tool_call"], used, case)
            elif fact["kind"] in ("user_message", "assistant_message", "reasoning"):
                _text(found, fact, by_kind[fact["kind"]])
            else:
                _of_session(found, fact, timelines)
    if len(timelines) == 1:
        _order(found, case, timelines[0]["steps"])
    _repeats(found, case, by_kind)
    return found


def _of_session(found: Score, fact: dict[str, Any], timelines: list[dict[str, Any]]) -> None:
    kind, value = fact["kind"], fact["value"]
    if kind == "session_id":
        found.check(any(t["session_id"] == value for t in timelines), f"session_id {value}")
    elif kind in ("user_id", "customer_id"):
        found.check(any(value in t[f"{kind}s"] for t in timelines), f"{kind} {value}")
    elif kind == "system_prompt":
        found.check(any(same(p["text"], value) for t in timelines for p in t["system_prompts"]), kind)
    elif kind == "tool_offered":
        offered = [o for t in timelines for o in t["tools_offered"] if o["name"] == value["name"]]
        schema = value["parameters"]
        found.check(any(schema is None or canon(o["parameters"]) == canon(schema) for o in offered), f"tool_offered {value['name']}")
    elif kind == "model_calls":
        got = sum(len(t["model_calls"]) for t in timelines)
        found.shown += max(got, value)
        found.check(got >= value, f"model_calls {got} of {value}")
        found.too_many(got - value, "model calls too many")
    elif kind in ("input_tokens", "output_tokens"):
        got = sum(t["totals"][kind] or 0 for t in timelines)
        found.check(got == value, f"{kind} {got} for {value}")


def _text(found: Score, fact: dict[str, Any], steps: list[dict[str, Any]]) -> None:
    value, texts = fact["value"], [s.get("text") for s in steps]
    ok = any(same(t, value) for t in texts)
    if not ok and fact["kind"] == "reasoning":
        parts = value.split("\n", 1)
        ok = any(flat(t) == flat(value) for t in texts) or (len(parts) == 2 and all(any(same(t, p) for t in texts) for p in parts))
    found.check(ok, f"{fact['kind']} {value[:40]!r}")


def _tool_call(found: Score, fact: dict[str, Any], steps: list[dict[str, Any]], used: set[int], case: dict[str, Any]) -> None:
    value, chosen = fact["value"], None
    for i, tool in enumerate(s["tool"] for s in steps):
        if i in used or tool["name"] != value["name"]:
            continue
        equal = (value["arguments"] is not None and canon(tool.get("arguments")) == canon(value["arguments"])) or (
            value["arguments_raw"] is not None and tool.get("arguments_raw") == value["arguments_raw"]
        )
        if equal and (not fact["call_id_carried"] or tool.get("call_id") == fact["call_id"] or chosen is None):
            chosen = i
        if equal and tool.get("call_id") == fact["call_id"]:
            break
    found.check(chosen is not None, f"tool_call {value['name']}")
    if chosen is None:
        return
    used.add(chosen)
    tool = steps[chosen]["tool"]
    if fact["call_id_carried"]:
        found.check(tool.get("call_id") == fact["call_id"], f"call_id of {value['name']}")
    if fact["result_carried"]:
        wanted = {canon(fact["result"])}
        try:
            wanted.add(canon(json.loads(fact["result"])))
        except (ValueError, TypeError):
            pass  # a result that is plain text
        found.check(bool(wanted & set(inside([tool.get("result"), tool.get("error")]))), f"result of {value['name']}")
    if not fact["offered"] and any(f["kind"] == "tool_offered" and f["carried"] for f in case["facts"]):
        found.check(tool.get("offered") is False, f"{value['name']} was not offered")


def _order(found: Score, case: dict[str, Any], steps: list[dict[str, Any]]) -> None:
    def place(wanted: list[Any]) -> int | None:
        for i, step in enumerate(steps):
            if step["kind"] != wanted[0]:
                continue
            if wanted[0] == "tool_call":
                if step["tool"]["name"] == wanted[1] and step["tool"].get("call_id") in (wanted[2], None):
                    return i
            elif same(step.get("text"), wanted[1]) or flat(step.get("text")) == flat(wanted[1]):
                return i
        return None

    shown = [(wanted, at) for wanted in case["order"] if (at := place(wanted)) is not None]
    for (a, first), (b, second) in itertools.pairwise(shown):
        if not a[0] == b[0] == "tool_call":  # parallel calls of one model call have no order
            found.check(first <= second, f"order: {a[0]} {str(a[1])[:30]!r} before {b[0]} {str(b[1])[:30]!r}")


def _repeats(found: Score, case: dict[str, Any], by_kind: dict[str, list[dict[str, Any]]]) -> None:
    for kind in ("tool_call", "user_message"):
        want, got = sum(f["kind"] == kind for f in case["facts"]), len(by_kind[kind])
        found.shown += max(got, want)
        found.too_many(got - want, f"{kind} steps {got} for {want}")
    for kind in ("reasoning", "assistant_message"):
        wanted = Counter(flat(f["value"]) for f in case["facts"] if f["kind"] == kind)
        shown = Counter(flat(s.get("text")) for s in by_kind[kind])
        found.shown += max(sum(shown.values()), sum(wanted.values()))
        found.too_many(sum(max(0, n - max(1, wanted[t])) for t, n in shown.items()), f"{kind} shown twice")
