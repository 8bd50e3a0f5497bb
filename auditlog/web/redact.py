"""Owns what remains of a timeline for whoever may not read content: that it happened, when, by whom, with which tools."""

from __future__ import annotations

from typing import Any, Final

_STEP: Final[tuple[str, ...]] = (
    "n",
    "kind",
    "at",
    "started_at",
    "ended_at",
    "received_at",
    "model_call",
    "event_ids",
    "agent",
    "actor",
    "form",
    "completeness",
)
_CALL: Final = ("n", "requested_model", "response_model", "provider", "agent", "started_at", "ended_at", "usage", "event_ids")
_TOOL: Final[tuple[str, ...]] = ("call_id", "name", "offered", "arguments_valid", "outcome")


def head(timeline: dict[str, Any]) -> dict[str, Any]:
    """A copy made of what is named here, so that a member that a timeline gains later is content until somebody says otherwise."""
    kept = ("key", "session_id", "trace_ids", "agent", "agents", "user_ids", "customer_ids", "started_at", "ended_at", "totals", "pages")
    headline = timeline["headline"]
    return {
        **{name: timeline[name] for name in kept if name in timeline},
        "headline": headline and {**dict.fromkeys(headline), "n": headline["n"], "tool": headline["tool"]},
        "opening": "",
        "system_prompts": [{"text": "", "first_step": prompt["first_step"]} for prompt in timeline["system_prompts"]],
        "tools_offered": [
            {"name": tool["name"], "description": None, "parameters": None, "first_step": tool.get("first_step")}
            for tool in timeline["tools_offered"]
        ],
        "completeness": timeline["completeness"],
    }


def page(timeline: dict[str, Any]) -> dict[str, Any]:
    """The same of one page of it."""
    return {
        "steps": [_step(step) for step in timeline["steps"]],
        "model_calls": [{name: call.get(name) for name in _CALL} for call in timeline["model_calls"]],
        "gaps": timeline["gaps"],
        "findings": [{**finding, "message": finding["code"]} for finding in timeline["findings"]],
    }


def _step(step: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: step[name] for name in _STEP if name in step}
    if "tool" in step:
        found["tool"] = {name: step["tool"].get(name) for name in _TOOL}
    return found
