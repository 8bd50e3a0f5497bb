"""Real captured sessions: each gives back what really happened, whatever the order of arrival and however often."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from auditlog.reconstruct.actions import actions, notable, notable_of
from auditlog.reconstruct.timeline import timeline
from tests.corpus import arrived, case, items, names, sessions, shuffled, timelines
from tests.scoring import Score, score


def by_source() -> dict[str, list[str]]:
    out: dict[str, list[str]] = defaultdict(list)
    for name in names():
        out[name.split("/")[0]].append(name)
    return out


def scored(source: str) -> Score:
    total = Score()
    for name in by_source()[source]:
        total.add(score(case(name), timelines(arrived(items(name)))))
    return total


@pytest.mark.parametrize("source", sorted(by_source()))
def test_a_source_gives_back_what_its_payload_carries(source: str) -> None:
    found = scored(source)
    assert found.facts > 0
    assert not found.missing
    assert not found.extra


def told(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A timeline without times of receipt and event IDs, which depend on arrival and on the installation."""
    theirs = ("received_at", "event_ids")

    def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: value for key, value in row.items() if key not in theirs} for row in rows]

    kept = [{**t, "steps": plain(t["steps"]), "model_calls": plain(t["model_calls"])} for t in shown]
    for one in kept:
        if len(one["session_id"]) == len("trace:") + 64:  # a record without trace and session is named by its own ID
            one["session_id"] = one["key"] = "trace:"
    return sorted(kept, key=lambda t: (t["session_id"], t["started_at"] or "", repr(t["steps"])))


@pytest.mark.parametrize("name", names())
def test_order_of_arrival_and_repetition_change_nothing(name: str) -> None:
    events = arrived(items(name))
    expected = told(timelines(events))
    for seed in (1, 2):
        assert told(timelines(shuffled(events, seed))) == expected


@pytest.mark.parametrize("name", [n for n in names() if n.endswith(("/chat_refund", "/anthropic_refund"))])
def test_a_brief_timeline_lacks_nothing_but_origins_and_what_lacks_at_each_call(name: str) -> None:
    for key, found in sessions(arrived(items(name))).items():
        whole = timeline(found, key=key)
        most = len(whole["steps"])
        assert timeline(found, key=key, brief=most - 1) == whole
        for step in whole["steps"]:
            if step["kind"] == "tool_call":
                del step["completeness"]
                step["tool"]["origins"] = None
        assert timeline(found, key=key, brief=most) == whole


@pytest.mark.parametrize("name", [n for n in names() if n.endswith("refund")])
def test_every_step_names_the_items_that_state_it(name: str) -> None:
    events = arrived(items(name))
    known = {e.id for e in events}
    for shown in timelines(events):
        for step in shown["steps"]:
            assert step["event_ids"]
            assert set(step["event_ids"]) <= known


@pytest.mark.parametrize("name", names())
def test_the_action_that_names_a_session_is_the_same_whether_one_or_all_are_taken_apart(name: str) -> None:
    for made in timelines(arrived(items(name))):
        assert notable(made) == notable_of(actions(made))
