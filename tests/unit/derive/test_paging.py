"""Owns the checks of a timeline's pages: together they are the timeline, whatever a page holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
import zstandard

from auditlog.derive import paging
from auditlog.reconstruct.timeline import timeline
from tests import corpus
from tests.db.api.talks import talk


def parts(made: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return paging.head_of(made), [paging.page_of(made, number) for number in range(1, paging.pages_of(made) + 1)]


@pytest.mark.parametrize("steps", [1, 2, 5, 200])
def test_the_pages_of_every_captured_session_are_its_timeline(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(paging, "STEPS", steps)
    for name in corpus.names():
        for made in corpus.timelines(corpus.arrived(corpus.items(name))):
            head, pages = parts(made)
            assert len(pages) == head["pages"] == max(1, -(-len(made["steps"]) // steps))
            assert paging.whole(head, pages) == made, name


def test_gaps_and_findings_stand_on_the_page_of_their_step_and_only_loose_ones_in_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "STEPS", 2)
    gaps: list[dict[str, Any]] = [
        {"code": "a", "step": 3, "message": "m"},
        {"code": "b", "step": None, "message": "m"},
        {"code": "c", "step": 0, "message": "m"},
    ]
    made: dict[str, Any] = {
        "steps": [{"n": n, "kind": "user_message", "text": "x"} for n in range(5)], "model_calls": [{"n": 0}, {"n": 1}, {"n": 2}],
        "findings": [{"code": "f", "step": 4, "message": "m"}], "completeness": {"verdict": "gaps", "basis": "no_gap_found", "gaps": gaps},
    }  # fmt: skip
    made["steps"][3]["model_call"] = 1
    head, pages = parts(made)
    assert [[gap["code"] for gap in page["gaps"]] for page in pages] == [["c"], ["a"], []]
    assert [len(page["findings"]) for page in pages] == [0, 0, 1] and head["findings"] == []
    assert [gap["code"] for gap in head["completeness"]["gaps"]] == ["b"]
    assert (head["completeness"]["count"], head["completeness"]["placed"]) == (3, [0, 3])
    assert [len(page["model_calls"]) for page in pages] == [1, 2, 0]  # without a step: where the call before it stands
    assert paging.whole(head, pages) == made


def test_only_a_session_of_several_pages_is_kept_and_what_cannot_be_written_is_not() -> None:
    short = timeline(corpus.arrived(talk("s", 20)), key="k")
    assert paging.kept(short) == []
    long = timeline(corpus.arrived(talk("s", 120)), key="k")
    kept = paging.kept(long)
    assert len(kept) == 1 + paging.pages_of(long) == 3
    read = [json.loads(zstandard.decompress(part)) for part in kept]
    assert paging.whole(read[0], read[1:]) == json.loads(json.dumps(long))
    call = next(step for step in long["steps"] if step["kind"] == "tool_call")
    call["tool"]["arguments"] = {"n": 10**5000}
    assert paging.kept(long) == []
