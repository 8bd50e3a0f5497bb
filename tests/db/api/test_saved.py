"""Owns the checks of saved searches: one's own, shared ones, nobody else's, and that each change is recorded."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qs

import pytest
from django.db.models import QuerySet
from django.test import Client

from auditlog.web import saved
from auditlog.web.models import SavedSearch
from tests.browser import hostile
from tests.db.api.conftest import PASSWORD, World, person
from tests.db.api.test_access import recorded, text

QUERY = "customer_id=ACME-2024&when=30d&view=sessions"


def keep(client: Client, name: str, query: str = QUERY, **more: str) -> SavedSearch:
    assert client.post("/searches", {"name": name, "query": query, **more}).status_code == 302
    return SavedSearch.objects.get(name=name)


def test_a_search_is_kept_listed_opened_renamed_and_removed_and_each_is_recorded(refund: World, operator: Client) -> None:
    answer = operator.post("/searches", {"name": "ACME, lately", "query": QUERY})
    assert (answer.status_code, answer["Location"]) == (302, f"/?{QUERY}")
    row = SavedSearch.objects.get()
    page = text(operator.get("/"))
    assert "The search is saved" in page and "ACME, lately" in page and f'href="/?{QUERY.replace("&", "&amp;")}"' in page
    listed = text(operator.get("/searches"))
    assert "customer is <b><bdi>ACME-2024" in listed and "last 30 days" in listed and "sessions only" in listed
    assert operator.get(f"/searches/{row.pk}")["Location"] == f"/?{QUERY}"
    operator.post(f"/searches/{row.pk}", {"name": "ACME", "shared": "on"})
    assert SavedSearch.objects.get().name == "ACME" and "you, shared" in text(operator.get("/searches"))
    operator.post(f"/searches/{row.pk}/remove")
    assert not SavedSearch.objects.exists() and "None yet" in text(operator.get("/searches"))
    found = [(one["action"], one["about"]["name"]) for one in recorded(refund) if one["action"].startswith("search.")]
    assert found == [("search.save", "ACME, lately"), ("search.change", "ACME"), ("search.remove", "ACME")]


def test_only_what_is_a_search_is_kept_of_an_address(world: World, operator: Client) -> None:
    row = keep(operator, "a", "customer_id=x&customer_id=y&tz=UTC&cursor=abc&live=1&bogus=%3Cscript%3E&tool=&limit=3&amount_min=lots")
    assert parse_qs(row.query) == {"customer_id": ["y"], "amount_min": ["lots"]}  # what is wrong is said when it is opened
    assert "//evil.example" not in keep(operator, "b", "//evil.example/?q=1").query
    assert operator.post("/searches", {"name": "c", "query": "//evil.example/"})["Location"] == "/"


def test_others_see_what_is_shared_and_of_the_rest_not_even_that_it_is(world: World, operator: Client) -> None:
    ines, vera = person(world.project, "ines", "investigator"), person(world.project, "vera", "viewer")
    own, shared = keep(operator, "my own"), keep(operator, "for all", shared="on")
    for client in (ines, vera):
        for path in ("/", "/searches"):
            page = text(client.get(path))
            assert "for all" in page and "operator" in page and "my own" not in page
        assert client.get(f"/searches/{shared.pk}").status_code == 302
        for answer in (client.get(f"/searches/{own.pk}"), client.post(f"/searches/{own.pk}/remove"), client.post(f"/searches/{own.pk}")):
            assert answer.status_code == 404
        assert client.post(f"/searches/{shared.pk}", {"name": "stolen"}).status_code == 403
        assert client.post(f"/searches/{shared.pk}/remove").status_code == 403
    assert SavedSearch.objects.count() == 2
    admin = person(world.project, "ada", "admin")
    assert admin.post(f"/searches/{own.pk}/remove").status_code == 404
    assert admin.post(f"/searches/{shared.pk}/remove").status_code == 302  # whoever saved it may be gone


def test_a_viewer_keeps_searches_for_themselves_only(world: World) -> None:
    vera = person(world.project, "vera", "viewer")
    row = keep(vera, "mine", shared="on")
    assert not row.shared and 'name="shared"' not in text(vera.get("/"))
    vera.post(f"/searches/{row.pk}", {"name": "mine", "shared": "on"})
    assert not SavedSearch.objects.get().shared


@pytest.mark.parametrize(
    ("name", "query", "says"),
    [
        ("", QUERY, "Give the search a name"),
        ("n" * 81, QUERY, "at most 80 characters"),
        ("taken", QUERY, "a saved search of that name"),
        ("nul\0", QUERY, "Null characters"),
        ("long", "q=" + "a" * 8_000, "too long to be saved"),
    ],
)
def test_what_cannot_be_kept_says_why_and_leads_back_to_the_search(
    world: World, operator: Client, name: str, query: str, says: str
) -> None:
    keep(operator, "taken")
    answer = operator.post("/searches", {"name": name, "query": query})
    assert answer["Location"] == f"/?{query}" and SavedSearch.objects.count() == 1
    page = unescape(text(operator.get("/searches")))
    assert "The search was not saved" in page and says in page


def test_there_is_an_end_of_them(world: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MOST", 2)
    for name in ("a", "b", "c"):
        operator.post("/searches", {"name": name, "query": ""})
    assert SavedSearch.objects.count() == 2 and "Remove one first" in text(operator.get("/searches"))


def test_more_than_the_menu_shows_says_so(world: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MENU", 1)
    keep(operator, "a")
    assert "More, and how to" not in text(operator.get("/"))
    keep(operator, "fully hidden")
    page = text(operator.get("/"))
    assert "More, and how to" in page and "fully hidden" not in page and "fully hidden" in text(operator.get("/searches"))


def test_a_form_that_was_not_made_here_keeps_nothing(world: World, operator: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.login(username="operator", password=PASSWORD)
    assert strict.post("/searches", {"name": "a", "query": ""}).status_code == 403
    row = keep(operator, "mine")
    assert strict.post(f"/searches/{row.pk}/remove").status_code == 403 and operator.get(f"/searches/{row.pk}/remove").status_code == 405
    assert SavedSearch.objects.count() == 1


def test_hostile_names_are_text(world: World, operator: Client) -> None:
    for text_ in hostile.TEXTS.values():
        operator.post("/searches", {"name": text_[:80], "query": "customer_id=" + "%3Cscript%3E"})
    assert SavedSearch.objects.count() > 30
    for path in ("/", "/searches"):
        page = re.sub(r"<input [^>]*>", "", text(operator.get(path)))  # a field has to hold exactly what is sent again
        assert "<script>window" not in page and "<img src" not in page and "\u202e" not in page and "<svg onload" not in page


def test_a_button_that_is_pressed_twice_saves_once(world: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(operator, "twice")
    monkeypatch.setattr(QuerySet, "exists", lambda _: False)  # the other request commits between the look and the insert
    answer = operator.post("/searches", {"name": "twice", "query": QUERY})
    assert (answer.status_code, SavedSearch.objects.count()) == (302, 1)
    assert [one["action"] for one in recorded(world)].count("search.save") == 1
