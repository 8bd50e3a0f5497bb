"""Sessions written from the conventions' own documents, for what no captured session has: each is told as its document means it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from auditlog.ingest.decode import decode
from auditlog.item import SPAN
from auditlog.reconstruct.timeline import timeline
from tests.corpus import arrived, shuffled

OWN = Path(__file__).parents[2] / "fixtures" / "otlp" / "own"
NAMES = sorted(path.name for path in OWN.iterdir() if path.is_dir())


def told(step: dict[str, Any]) -> list[Any]:
    tool = step.get("tool")
    if tool is None:
        return [step["kind"], step["agent"], step["text"]]
    return [step["kind"], step["agent"], [tool["name"], tool["outcome"], tool["result"], tool["offered"], tool["arguments_valid"]]]


@pytest.mark.parametrize("name", NAMES)
def test_a_session_is_told_as_its_document_means_it_in_any_order(name: str) -> None:
    assert "semantic conventions" in (readme := (OWN / name / "README.md").read_text()) or "SDK" in readme
    events = arrived(decode((OWN / name / "traces.json").read_bytes(), SPAN, "json"))
    expected = json.loads((OWN / name / "expected.json").read_text())
    for order in (events, shuffled(events, 3), events[::-1]):
        shown = timeline(order, key="k")
        assert shown["session_id"] == ("s-1" if "vercel" not in name else f"trace:{shown['trace_ids'][0]}")
        assert [told(s) for s in shown["steps"]] == expected["steps"]
        assert {n: shown["steps"][int(n)]["detail"] for n in expected.get("detail", {})} == expected.get("detail", {})
        assert (len(shown["model_calls"]), shown["totals"]["input_tokens"]) == (expected["model_calls"], expected["input_tokens"])
        assert [g["code"] for g in shown["completeness"]["gaps"]] == expected["gaps"]
