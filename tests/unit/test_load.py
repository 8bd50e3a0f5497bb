"""Owns that the load of the benchmarks is what they say: both of its forms tell the same sessions, and no session is sent twice."""

from __future__ import annotations

from typing import Any

import pytest

from auditlog.ingest.decode import decode
from auditlog.item import SPAN, Item
from bench.generate import FORMS, Fresh, Load, bodies
from tests.corpus import arrived, timelines


def items(load: Load) -> list[Item]:
    return [item for _, body in bodies(load) for item in decode(body, SPAN, "protobuf")]


def told(load: Load) -> list[dict[str, Any]]:
    """Timelines, without what OpenInference has no place for, and without arguments as text, for which OpenTelemetry has none."""
    found = timelines(arrived(items(load)))
    for one in found:
        for call in one["model_calls"]:
            del call["requested_model"], call["response_id"]
        for step in one["steps"]:
            step.get("tool", {}).pop("arguments_raw", None)
    return found


@pytest.mark.parametrize("spaced", [False, True])
def test_both_forms_tell_the_same_sessions(spaced: bool) -> None:
    assert list(FORMS) == ["OpenTelemetry", "OpenInference"]
    first, second = (told(Load(3, form=form, spaced=spaced)) for form in FORMS)
    assert len(first) == 3 and all(len(one["steps"]) > 12 for one in first)
    for one, other in zip(first, second, strict=True):
        assert one == other


def test_fresh_loads_have_no_session_of_another() -> None:
    fresh = Fresh()
    loads = [fresh(3), fresh(2, form="OpenInference"), fresh(4, batch=64)]
    known = [{one["session_id"] for one in told(load)} for load in loads]
    assert [len(one) for one in known] == [3, 2, 4] and len(set().union(*known)) == 9
