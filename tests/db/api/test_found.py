"""Owns the checks of what a search shows beside its rows: what was said around the words, each passage with its step."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.test import Client

from tests.asked import asked
from tests.db.api.conftest import World, person
from tests.db.api.talks import talk
from tests.db.api.test_access import text
from tests.db.api.test_search_page import DAY, send


def said(session: str, *messages: str) -> list[dict[str, Any]]:
    """One message of a user each, in one session."""
    return [
        {"kind": "message", "session_id": session, "at": f"{DAY:%Y-%m-%dT}10:00:{n:02}Z", "input": [{"role": "user", "content": one}]}
        for n, one in enumerate(messages)
    ]


def excerpts_of(page: str) -> list[tuple[str, str]]:
    """(address, words with «» for what is marked) of each passage on a page."""
    found = re.findall(r'<li><a href="([^"]+)">step \d+</a>.*?<q><bdi>(.*?)</bdi></q></li>', page)
    return [(url, unescape(re.sub(r"<[^>]+>", "", shown.replace("<mark>", "«").replace("</mark>", "»")))) for url, shown in found]


def test_a_hit_shows_the_passages_around_its_words_and_leads_to_their_steps(world: World, operator: Client) -> None:
    send(world, *said("a", "hello", "Please pay back the café in 東京都, " + "x " * 200, "no"), *said("b", "nothing"))
    page = text(operator.get("/?q=CAFE 京"))
    ((url, shown),) = excerpts_of(page)
    assert shown.startswith("Please pay back the «café» in 東«京»都, x x") and shown.endswith("…")
    address, anchor = url.split("#")
    assert anchor == "step-2" and f'id="{anchor}"' in text(operator.get(address))
    (row,) = world.api.json("sessions", q="cafe")["results"]
    (one,) = row["excerpts"]
    assert (one["step"], one["kind"], one["more_before"], one["more_after"]) == (1, "user_message", False, True)
    assert one["parts"][:2] == [{"text": "Please pay back the ", "hit": False}, {"text": "café", "hit": True}]
    assert "excerpts" not in world.api.json("sessions")["results"][0]
    assert excerpts_of(text(operator.get("/"))) == []


def test_a_hit_by_an_identifier_that_nobody_said_shows_no_passage(world: World, operator: Client) -> None:
    send(world, *said("order-77", "hello"))
    (row,) = world.api.json("sessions", q="order-77")["results"]
    assert row["excerpts"] == [] and excerpts_of(text(operator.get("/?q=order-77"))) == []


def test_what_was_said_is_hostile_text(world: World, operator: Client) -> None:
    send(world, *said("a", "<script>alert(1)</script> needle\u202e<b>"))
    page = text(operator.get("/?q=needle"))
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)&lt;/script&gt; <mark>needle" in page
    assert "\u202e" not in page and "U+202E" in page


def test_without_the_right_to_content_there_is_no_passage(world: World) -> None:
    send(world, *said("a", "the needle"), *said("needle", "the secret needle"))
    page = text(person(world.project, "vera", "viewer").get("/?q=needle"))  # the ID of a session, too
    assert "secret" not in page and "<mark>" not in page and "needle" in page


def test_the_newest_twenty_sessions_cost_one_question_more_for_their_passages(world: World, operator: Client) -> None:
    for n in range(40):
        world.bench.send(talk(f"s{n}", 2))
    world.bench.derive()
    operator.get("/")
    with asked() as statements:
        page = text(operator.get("/?q=credit"))
    assert len(excerpts_of(page)) == 60 and sum("texts" in one for one in statements.statements) == 1


def test_a_question_too_long_for_words_says_so_unless_it_names_something(world: World, operator: Client) -> None:
    long = "s" * 3_000
    world.bench.send(talk(long, 1))
    world.bench.derive()
    assert [one["session_id"] for one in world.api.json("sessions", q=long)["results"]] == [long]
    answer = world.api.get("sessions", q=long + "x")
    assert answer.status_code == 400 and "words are searched for up to 1,000 bytes" in answer.json()["error"]["message"]
    page = operator.get("/", {"q": long + "x"})
    assert page.status_code == 400 and "words are searched for up to 1,000 bytes" in page.content.decode()
