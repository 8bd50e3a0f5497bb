"""Owns the checks of what is counted per agent, in the API and on its page, and of sessions found by a gap."""

from __future__ import annotations

import html
import re

import pytest
from django.test import Client

from auditlog.reconstruct.gaps import CODES
from auditlog.search import agents
from tests.db.api.conftest import World, person
from tests.db.api.talks import talk


def test_gaps_are_counted_per_agent_and_each_count_leads_to_just_these_sessions(world: World) -> None:
    world.load("openinference/chat_refund", "vercel_ai_v7/chat_refund", "strands-own/refund")
    world.bench.send(talk("a", 2))
    world.bench.derive()
    sessions = world.api.json("sessions")["results"]
    found = world.api.json("agents")
    assert found["sessions"] == len(sessions) and found["cut"] is False
    for row in found["results"]:
        own = [one for one in sessions if one["agent"]["name"] == row["name"]]
        assert row["sessions"] == len(own)
        for name in ("model_calls", "tool_calls"):
            assert row[name] == sum(one["totals"][name] for one in own)
        for verdict, count in row["verdicts"].items():
            assert count == sum(one["verdict"] == verdict for one in own)
        gaps = {one["key"]: world.api.json(f"sessions/{one['key']}/timeline")["completeness"]["gaps"] for one in own}
        expected = {code: {key for key, of in gaps.items() if any(gap["code"] == code for gap in of)} for code in CODES}
        assert {gap["code"]: gap["sessions"] for gap in row["gaps"]} == {code: len(keys) for code, keys in expected.items() if keys}
        if row["name"] is not None:
            for gap in row["gaps"]:
                listed = world.api.json("sessions", agent=row["name"], gap=gap["code"])["results"]
                assert {one["key"] for one in listed} == expected[gap["code"]]
    assert any(row["gaps"] for row in found["results"])


def test_only_sessions_of_the_range_and_of_the_project_are_counted(world: World) -> None:
    world.bench.send(talk("a", 2))
    world.bench.derive()
    assert world.api.json("agents", to="2020-01-01")["results"] == []
    assert world.api.json("agents", **{"from": "2020-01-01"})["sessions"] == 1
    assert type(world.api)(world.other_key).json("agents")["results"] == []


def test_what_is_no_range_and_no_gap_is_refused_with_what_would_be_right(world: World) -> None:
    assert world.api.get("agents", to="never").json()["error"]["detail"] == {"parameter": "to", "value": "never"}
    assert "reasoning_missing" in world.api.get("sessions", gap="reason").json()["error"]["message"]


def test_where_not_all_were_counted_it_says_so(world: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "MOST", 2)
    for n in range(3):
        world.bench.send(talk(f"s{n}", 2))
    world.bench.derive()
    found = world.api.json("agents")
    assert (found["sessions"], found["cut"]) == (2, True)
    assert "counted from the newest 2 sessions; older ones are not in these numbers" in operator.get("/agents").content.decode()


@pytest.mark.parametrize("asked", ["", "?from=2020-01-01"])
def test_every_number_of_the_page_leads_to_a_search_that_runs_with_as_many_sessions(world: World, operator: Client, asked: str) -> None:
    world.load("openinference/chat_refund", "vercel_ai_v7/chat_refund", "strands-own/refund")
    world.bench.send(talk("long after them", 2))  # and is one of the newest days that the search page shows by itself
    world.bench.derive()
    page = operator.get(f"/agents{asked}").content.decode()
    links = re.findall(r'href="(/\?[^"]+)">(?:([\d,]+) )?', page.partition("<table")[2].partition("</table>")[0])
    assert len(links) > 4
    for href, count in links:
        found = operator.get(html.unescape(href) + "&view=sessions").content.decode()
        assert "This search was not run" not in found
        if count:
            assert f'<p class="more">{count} session{"" if count == "1" else "s"} shown' in found, href


def test_a_viewer_sees_the_numbers_and_a_stranger_nothing(world: World) -> None:
    world.bench.send(talk("a", 2))
    world.bench.derive()
    assert "1 session, all there are" in person(world.project, "viewer", "viewer").get("/agents").content.decode()
    assert "No session yet" in person(world.other, "stranger", "investigator").get("/agents").content.decode()
    assert Client().get("/agents").status_code == 302
