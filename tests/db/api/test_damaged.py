"""Owns the checks of what is said where somebody changed a record so that it cannot be read: which one, what to do; all else is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from django.test import Client

from tests.db.api.conftest import REFUND, World
from tests.db.api.talks import talk

OTHER = "openinference/chat_hallucinated_tool"


def fewer(told: list[Any]) -> None:
    told[-1].pop()


def of_another_kind(told: list[Any]) -> None:
    told[-1][:] = [{"no": "text"}] * len(told[-1])


def of_another_form(told: list[Any]) -> None:
    told[0] = 99


def no_list(told: list[Any]) -> None:
    told[-1] = 7


@pytest.mark.parametrize("change", [fewer, of_another_kind, of_another_form, no_list])
def test_a_record_that_was_changed_is_named_and_other_sessions_are_shown(
    world: World, operator: Client, change: Callable[[list[Any]], None]
) -> None:
    world.load(REFUND, OTHER)
    world.seal()
    hurt, whole = (str(one["key"]) for one in world.api.json("sessions")["results"])
    event = world.api.json(f"sessions/{hurt}/timeline")["steps"][0]["event_ids"][0]
    ((vals,),) = world.bench.rows(f"SELECT vals FROM event WHERE event_id = '{event[32:]}'")
    told = msgspec.msgpack.decode(bytes(vals))
    change(told)
    world.bench.owner.execute("UPDATE event SET vals = %s WHERE event_id = %s", (msgspec.msgpack.encode(told), event[32:]))
    for path in (f"sessions/{hurt}/timeline", f"events/{event}", "events"):  # of a list nothing is left out without a word
        answer = world.api.get(path)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (409, "evidence_unreadable"), error
        assert event in error["message"] and "manage.py verify" in error["message"]
    for path in (f"/sessions/{hurt}", f"/events/{event}"):
        page = operator.get(path)
        assert page.status_code == 409 and event.encode() in page.content and b"manage.py verify" in page.content
        assert b"<h1>A record cannot be read</h1>" in page.content
    assert world.api.get(f"sessions/{whole}/timeline").status_code == 200 == operator.get(f"/sessions/{whole}").status_code


@pytest.mark.parametrize("stored, codec, what", [(b"no frame", 1, "a long value"), (b"\x92", 0, "a long conversation")])
def test_a_long_value_that_was_changed_is_said_to_be(world: World, operator: Client, stored: bytes, codec: int, what: str) -> None:
    world.bench.send(talk("long", 40, "The order arrived late. " * 20))
    world.bench.derive()
    key = world.only_key()
    assert world.api.get(f"sessions/{key}/timeline").status_code == 200
    world.bench.owner.execute("UPDATE content SET bytes = %s, codec = %s", (stored, codec))
    answer = world.api.get(f"sessions/{key}/timeline")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "evidence_unreadable")
    assert f"What is stored of {what} cannot be read" in answer.json()["error"]["message"]
    assert operator.get(f"/sessions/{key}").status_code == 409
