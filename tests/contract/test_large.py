"""Owns the checks of the largest that a request may be: one item of 60 MiB, over each transport, comes back as it was sent."""

from __future__ import annotations

import secrets

import pytest

from tests.contract import ways
from tests.contract.conftest import Items, Receivers
from tests.contract.ways import WAYS, Way, ask, over

pytestmark = pytest.mark.django_db  # only so that pytest-django makes the database; the receivers are processes of their own
MIB = 2**20


@over([way for way in WAYS if way.signal == "traces"])
def test_a_span_of_sixty_mib_is_stored_whole(receivers: Receivers, way: Way, items_of: Items) -> None:
    text = secrets.token_hex(512) * (60 * MIB // 1024)
    large = ways.one(way, "large")
    large.attributes.add(key="gen_ai.tool.call.result").value.string_value = text
    large.attributes.add(key="short").value.string_value = "é\0"
    answer = ask(receivers, way, ways.body(way, large))
    assert (answer.code, answer.rejected) == ("", 0)
    (item,) = items_of(answer.receipt)
    assert (item.trace_id, item.span_id) == (large.trace_id, large.span_id)
    said = {key: value for key, _, value in item.attributes}
    assert said["gen_ai.tool.call.result"] == text and said["short"] == "é\0"
