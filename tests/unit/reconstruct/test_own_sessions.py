"""Sessions written from the conventions' own documents, for what no captured session has: each is told as its document means it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from auditlog.ingest.decode import decode
from auditlog.item import SPAN
from auditlog.reconstruct.request import request_of
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
    events = arrived(decode((OWN / name / "traces.json").read_bytes(), SPAN, "json"))
    expected = json.loads((OWN / name / "expected.json").read_text())
    for order in (events, shuffled(events, 3), events[::-1]):
        shown = timeline(order, key="k")
        assert shown["session_id"] == "s-1"
        assert [told(s) for s in shown["steps"]] == expected["steps"]
        assert {n: shown["steps"][int(n)]["detail"] for n in expected.get("detail", {})} == expected.get("detail", {})
        ran = {str(s["n"]): s["tool"]["executed_arguments"] for s in shown["steps"] if "executed_arguments" in s.get("tool", {})}
        assert ran == expected.get("executed_arguments", {})
        assert (len(shown["model_calls"]), shown["totals"]["input_tokens"]) == (expected["model_calls"], expected["input_tokens"])
        assert [g["code"] for g in shown["completeness"]["gaps"]] == expected["gaps"]


@pytest.mark.parametrize("name", ["otel-media", "otel-media-bytes", "openinference-media"])
def test_a_request_is_made_of_what_was_received_and_says_what_it_lacks(name: str) -> None:
    expected = json.loads((OWN / name / "expected.json").read_text())["request"]
    made = request_of(arrived(decode((OWN / name / "traces.json").read_bytes(), SPAN, "json")), 0)
    assert made is not None
    assert made["body"]["messages"][-1]["content"] == expected["content"]
    assert len(made["left_out"]) == expected["left_out"]


@pytest.mark.parametrize("name", NAMES)
def test_a_session_names_the_documents_it_was_written_from_and_what_they_leave_open(name: str) -> None:
    _, _, sources = (OWN / name / "README.md").read_text().partition("Written from:\n")
    named, _, rest = sources.partition("\n\n")
    assert named.startswith("- ") and ("` at " in named or "https://" in named)  # a file at a commit, or an address
    assert "Left open by the documents: " in rest
