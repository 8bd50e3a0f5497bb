"""Sessions that libraries outside of the corpus really sent, trimmed: told whole, once, in their order, however they arrive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from auditlog.ingest.decode import decode
from auditlog.item import LOG, SPAN
from auditlog.vocabulary import Arrived
from tests.corpus import arrived, shuffled, timelines

SEEN = Path(__file__).parents[2] / "fixtures" / "otlp" / "seen"
NAMES = sorted(path.name for path in SEEN.iterdir() if path.is_dir())


def events(name: str) -> list[Arrived]:
    sent = [(SEEN / name / file, signal) for file, signal in (("traces.json", SPAN), ("logs.json", LOG))]
    return arrived([item for path, signal in sent if path.exists() for item in decode(path.read_bytes(), signal, "json")])


def told(shown: dict[str, Any]) -> dict[str, Any]:
    """What a reader of the timeline is told, without what no source is asked for."""
    tools = ("call_id", "name", "arguments", "result", "error", "outcome")
    return {
        "system_prompts": [p["text"] for p in shown["system_prompts"]],
        "tools_offered": {o["name"]: o["parameters"] for o in shown["tools_offered"]},
        "steps": [
            [
                s["kind"],
                s["model_call"],
                {k: s["tool"][k] for k in tools} if s.get("tool") else s["text"],
                *([s["form"]] if "form" in s else []),
            ]
            for s in shown["steps"]
        ],
        "model_calls": [
            [c["requested_model"], c["response_model"], c["response_id"], *((c["usage"] or {}).get(k) for k in USAGE)]
            for c in shown["model_calls"]
        ],
        "gaps": [g["code"] for g in shown["completeness"]["gaps"]],
    }


USAGE = ("input_tokens", "output_tokens", "reasoning_tokens")


@pytest.mark.parametrize("name", NAMES)
def test_a_session_of_a_library_is_told_whole_and_once_in_any_order(name: str) -> None:
    assert (SEEN / name / "README.md").read_text().count("\n") >= 2
    found, expected = events(name), json.loads((SEEN / name / "expected.json").read_text())
    for order in (found, shuffled(found, 3), found[::-1]):
        shown = [t for t in timelines(order) if t["steps"]]
        assert [told(t) for t in shown] == expected
