"""Owns the checks of a project that asks what content is read for: nobody sees any before saying so, which each record has."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from auditlog import models
from auditlog.api.schema import document
from auditlog.verify.batches import check_batch
from auditlog.web.purpose import HOLDS_FOR
from tests.db.api.conftest import PASSWORD, World, person
from tests.db.api.test_access import SAID, recorded, text
from tests.db.api.test_addresses import API, CLASSES, COMMON, EXPORT, OWN, PAGE, SESSION, addresses, get, patterns

WHY = {"Auditlog-Purpose": "Complaint of 3 March", "Auditlog-Case": "4711"}
HOSTILE = "<script>alert(1)</script> \u202eevil & \u00fcber"
# Addresses that show nothing of what agents were told or did say: they ask for nothing. Every other one has to.
WITHOUT_CONTENT = {
    *("agents", "log", "api-sessions", "api-session", "api-events", "api-event-proof", "api-agents", "api-checkpoints"),
    *("api-access-log", "api-holds", "api-hold", "api-retention-classes", "api-retention-preview", "api-retention-rules"),
    *("api-clock-events", "api-reclassifications", "api-reclassification", "api-status", "api-schema", "api-docs"),
    *("searches", "saved", "saved-remove", "purpose", "ask", "settings", "password", "access", "access-csv", "access-json"),
    *("keys", "key", "key-rotate", "key-revoke", "members", "member", "member-remove", "member-link", "welcome"),
    *("retention", "retention-preview", "rules", "rule-remove", "clocks", "hold-release", "longer", "longer-end"),
    *("erasures", "erasure", "erasure-decide", "api-erasures", "api-erasure", "api-erasure-preview"),
    # What an export is for is said when it is asked for and when it is released.
    *("exports", "export-turn", "export-release", "export-download"),
    *("api-exports", "api-export", "api-export-releases", "api-export-download"),
}


def ask(world: World, on: bool = True) -> None:
    models.Project.objects.filter(pk=world.project.pk).update(ask_purpose=on)


def say(client: Client, why: str = "Complaint of 3 March", case: str = "4711", **more: str) -> Any:
    return client.post("/purpose", {"purpose": why, "case": case, **more})


def asks(answer: Any) -> bool:
    return bool(answer.status_code == 302 and answer["Location"].startswith("/purpose?next="))


def last(world: World) -> dict[str, Any]:
    return recorded(world)[-1]


@pytest.fixture
def asking(refund: World) -> World:
    ask(refund)
    return refund


# -- which addresses


def by_name(world: World, kind: str) -> dict[str, str]:
    ordered = [str(pattern.name) for _, pattern in patterns() if CLASSES.get(pattern.name or "") == kind]
    return dict(zip(ordered, addresses(world, kind), strict=True))


def test_every_page_with_content_asks_first_and_no_other(refund: World, operator: Client) -> None:
    pages = by_name(refund, PAGE)
    ask(refund)
    for name, address in pages.items():
        answer = operator.get(address)
        if name in WITHOUT_CONTENT:
            assert answer.status_code == 200, address
            continue
        assert asks(answer), address
        assert answer["Location"].partition("next=")[2] == quote(address), "it must lead back"
        refused = operator.post(address)
        assert refused.status_code == 403 and "purpose_required" in text(refused), address
        assert not any(words in text(refused) for words in SAID), address
    assert not any(one["action"].endswith((".view", ".download", "search")) for one in recorded(refund))


def test_every_answer_of_the_api_with_content_asks_first_and_no_other(refund: World) -> None:
    paths = by_name(refund, API) | by_name(refund, COMMON)
    ask(refund)
    for name, address in paths.items():
        answer = Client().get(address, headers=refund.api.headers)
        if name in WITHOUT_CONTENT:
            assert answer.status_code == 200, address
            continue
        assert (answer.status_code, json.loads(answer.content)["error"]["code"]) == (403, "purpose_required"), address
        assert Client().get(address, headers=refund.api.headers | WHY).status_code == 200, address
        assert last(refund)["about"]["purpose"] == "Complaint of 3 March" and last(refund)["about"]["case"] == "4711", address
    for query in ("q=charged", "value=cr_55120", "amount_min=400", "amount_max=400", "system_prompt=x"):  # what was said, by a guess
        assert refund.api.get(f"sessions?{query}").status_code == 403, query


def test_of_other_addresses_only_those_ask_that_show_content(asking: World, operator: Client) -> None:
    key = asking.key_of(SESSION)
    export = models.ApiKey.issue(asking.project, "export", ["export"])[1]
    for route, pattern in patterns():
        kind = CLASSES.get(pattern.name or "")
        address = "/" + re.sub(r"<\w+:\w+>", "1", route.replace("<str:key>", key))
        if kind == OWN:
            assert asks(operator.get(address)) is (pattern.name not in WITHOUT_CONTENT), address
        elif kind == EXPORT:
            assert pattern.name in WITHOUT_CONTENT and b"purpose_required" not in get(address, export).content, address
    assert operator.post(f"/sessions/{key}/why/1/pin").status_code == 403


def test_every_address_named_here_exists_and_those_of_the_api_that_ask_are_described_so() -> None:
    assert set(CLASSES) > WITHOUT_CONTENT
    asking = {
        path for path, methods in document()["paths"].items() if set(WHY) <= {p["name"] for p in methods["get"].get("parameters", [])}
    }
    routes = {
        "/" + re.sub(r"<str:(\w+)>", r"{\1}", route): pattern.name
        for route, pattern in patterns()
        if CLASSES.get(pattern.name or "") == API
    }
    assert asking == {path for path, name in routes.items() if name not in WITHOUT_CONTENT} | {"/api/v1/sessions"}  # with filters


# -- off


def test_a_project_that_does_not_ask_answers_and_records_as_before(refund: World, operator: Client) -> None:
    key = refund.key_of(SESSION)
    assert operator.get(f"/sessions/{key}").status_code == 200
    assert last(refund)["about"] == {"session": key, "content": True}
    sent = Client().get(f"/api/v1/sessions/{key}/timeline", headers=refund.api.headers | {"Auditlog-Purpose": "%"})
    assert sent.status_code == 200 and last(refund)["about"] == {"path": f"/api/v1/sessions/{key}/timeline", "parameters": {}}
    assert operator.get("/purpose?next=/agents")["Location"] == "/agents"
    assert "Purpose:" not in text(operator.get("/"))


def test_somebody_without_the_right_to_content_is_not_asked_and_cannot_say(asking: World) -> None:
    viewer = person(asking.project, "vera", "viewer")
    assert viewer.get(f"/sessions/{asking.key_of(SESSION)}").status_code == 200 and viewer.get("/").status_code == 200
    assert viewer.get("/purpose").status_code == 403 and say(viewer).status_code == 403


# -- on the pages


def test_whoever_says_why_goes_on_to_the_page_and_each_view_has_it_in_its_sealed_record(asking: World, operator: Client) -> None:
    address = f"/sessions/{asking.key_of(SESSION)}"
    form = operator.get(operator.get(address)["Location"])
    assert "Why do you look?" in text(form) and f'value="{address}"' in text(form)
    answer = say(operator, next=address)
    assert (answer.status_code, answer["Location"]) == (302, address)
    page = text(operator.get(address))
    assert "cr_55120" in page and "Complaint of 3 March" in page and f"/purpose?next={address}" in page
    operator.get("/", {"q": "ACME-2024"})
    operator.get(f"{address}/dossier")
    operator.get(f"/api/v1{address}/timeline")
    for record in recorded(asking)[-4:]:
        assert (record["about"]["purpose"], record["about"]["case"]) == ("Complaint of 3 March", "4711"), record["action"]
    (batch,) = asking.bench.rows("SELECT max(batch_no) FROM batch WHERE protocol = 5")[0]
    assert check_batch(asking.bench.owner, batch, lambda _: asking.bench.project.secret) == []


def test_what_shows_no_content_is_not_recorded_with_why_somebody_reads_some(asking: World, operator: Client) -> None:
    say(operator)
    operator.post("/settings/keys", {"name": "reports", "scopes": ["read"]})
    assert last(asking)["action"] == "key.create" and "purpose" not in last(asking)["about"]
    operator.post("/logout")
    assert last(asking)["action"] == "logout" and "purpose" not in last(asking)["about"]


def test_another_purpose_counts_from_then_on(asking: World, operator: Client) -> None:
    say(operator)
    assert 'value="4711"' in text(operator.get("/purpose"))
    say(operator, "Audit of refunds", "")
    operator.get(f"/sessions/{asking.key_of(SESSION)}")
    assert last(asking)["about"]["purpose"] == "Audit of refunds" and "case" not in last(asking)["about"]


def test_another_project_of_the_same_person_asks_anew(asking: World, operator: Client) -> None:
    say(operator)
    member = models.Member.objects.get(user__username="operator")
    models.Member.join(member.user, asking.other, ["investigator"])
    models.Project.objects.filter(pk=asking.other.pk).update(ask_purpose=True)
    assert operator.get("/").status_code == 200
    models.Member.objects.filter(pk=member.pk).delete()
    assert asks(operator.get("/"))
    say(operator, "Of project two", "")
    assert "Of project two" in text(operator.get("/"))
    models.Member.join(member.user, asking.project, ["investigator"])
    assert "Complaint of 3 March" in text(operator.get("/"))


def test_a_logout_and_another_login_ask_anew(asking: World, operator: Client) -> None:
    say(operator)
    elsewhere = Client()
    elsewhere.login(username="operator", password=PASSWORD)
    assert operator.get("/").status_code == 200 and asks(elsewhere.get("/"))
    operator.post("/logout")
    operator.post("/login", {"username": "operator", "password": PASSWORD})
    assert asks(operator.get("/"))


def test_a_purpose_ends_after_a_working_day(asking: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    say(operator)
    for _ in range(HOLDS_FOR // 1800):  # a login ends when nothing is asked for an hour
        assert operator.get("/").status_code == 200
        now += 1800
    assert asks(operator.get("/"))


def test_a_part_of_a_page_sends_the_whole_page_to_the_form(asking: World, operator: Client) -> None:
    shown = {"HX-Request": "true", "HX-Current-URL": "http://testserver/?live=1"}
    answer = operator.get("/?live=1&since=x", headers=shown)
    assert answer.status_code == 403 and answer["HX-Redirect"] == "/purpose?next=/%3Flive%3D1"


@pytest.mark.parametrize(
    "address",
    ["//evil.example/x", "https://evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "evil", "", "/\n/evil"],
)
def test_the_form_leads_to_no_address_of_somebody_else(asking: World, operator: Client, address: str) -> None:
    assert say(operator, next=address)["Location"] == "/"
    assert 'name="next" value="/"' in text(operator.get("/purpose", {"next": address}))


@pytest.mark.parametrize(
    ("why", "case", "says"),
    [
        ("", "", "Say what you look for"),
        ("   ", "", "Say what you look for"),
        ("x" * 201, "", "more than 200 characters"),
        ("two\nlines", "", "has a character that controls"),
        ("a\0b", "", "Null characters are not allowed"),
        ("fine", "9" * 61, "more than 60 characters"),
        ("fine", "7\x1b[31m", "has a character that controls"),
    ],
)
def test_what_cannot_stand_in_a_record_is_said_beside_its_field(asking: World, operator: Client, why: str, case: str, says: str) -> None:
    answer = say(operator, why, case)
    assert answer.status_code == 400 and says in unescape(text(answer)) and asks(operator.get("/"))


def test_hostile_text_in_a_purpose_is_shown_as_text(asking: World, operator: Client) -> None:
    say(operator, HOSTILE, "<b>7")
    page = text(operator.get("/"))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "<script>alert" not in page and "\u202e" not in page and "U+202E" in page
    assert "&lt;b&gt;7" in page and "<b>7" not in page and "<script>alert" not in text(operator.get("/purpose"))
    asking.bench.derive()
    log = text(operator.get("/access?action=search"))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in log and "<script>alert" not in log


def test_without_its_token_a_purpose_cannot_be_put_into_a_login(asking: World, operator: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert say(strict).status_code == 403 and asks(operator.get("/"))


# -- over the API


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "purpose_required"),
        ({"Auditlog-Purpose": " "}, "purpose_required"),
        ({"Auditlog-Case": "4711"}, "purpose_required"),
        ({"Auditlog-Purpose": "x" * 201}, "parameter_invalid"),
        ({"Auditlog-Purpose": "%C3%BC" * 201}, "parameter_invalid"),
        ({"Auditlog-Purpose": "100% sure"}, "parameter_invalid"),
        ({"Auditlog-Purpose": "a%00b"}, "parameter_invalid"),
        ({"Auditlog-Purpose": "a%0Ab"}, "parameter_invalid"),
        ({"Auditlog-Purpose": "%FF%FE"}, "parameter_invalid"),
        ({"Auditlog-Purpose": "%ED%A0%80"}, "parameter_invalid"),
        ({"Auditlog-Purpose": "\u00fcber"}, "parameter_invalid"),
        ({"Auditlog-Purpose": "fine", "Auditlog-Case": "9" * 61}, "parameter_invalid"),
    ],
)
def test_headers_that_say_nothing_or_cannot_be_read_are_refused(asking: World, headers: dict[str, str], code: str) -> None:
    before = len(recorded(asking))
    answer = Client().get(f"/api/v1/sessions/{asking.key_of(SESSION)}/timeline", headers=asking.api.headers | headers)
    error = answer.json()["error"]
    assert answer.status_code == (403 if code == "purpose_required" else 400) and error["code"] == code
    assert "Auditlog-Purpose" in error["message"] or "Auditlog-Case" in error["message"]
    assert [one["action"] for one in recorded(asking)[before:]] == ["sessions.read"]  # which told the key


def test_a_header_says_every_character_percent_encoded(asking: World) -> None:
    said = "Pr\u00fcfung 100 %, \u8fd4\u91d1"
    path = f"/api/v1/sessions/{asking.key_of(SESSION)}/timeline"
    assert Client().get(path, headers=asking.api.headers | {"Auditlog-Purpose": quote(said)}).status_code == 200
    assert last(asking)["about"]["purpose"] == said and "case" not in last(asking)["about"]
    assert Client().get("/api/v1/sessions", headers=asking.api.headers | WHY).status_code == 200
    assert (
        last(asking)["action"] == "sessions.read" and last(asking)["about"]["case"] == "4711"
    )  # what is recorded says it where it is sent


def test_whoever_is_logged_in_says_it_on_the_form_or_in_a_header(asking: World, operator: Client) -> None:
    path = f"/api/v1/sessions/{asking.key_of(SESSION)}/timeline"
    assert operator.get(path).status_code == 403 and operator.get("/api/v1/status").status_code == 200
    assert operator.get(path, headers=WHY).status_code == 200 and operator.get(path).status_code == 403
    say(operator, "On the form", "")
    assert operator.get(path).status_code == 200 and last(asking)["about"]["purpose"] == "On the form"


# -- the switch, and the access log


def test_whoever_manages_the_project_turns_it_on_and_off_and_that_is_recorded(refund: World, operator: Client) -> None:
    assert "Ask for a purpose" in text(operator.get("/settings"))
    assert operator.post("/settings/purpose", {"ask": "1"}).status_code == 302
    assert last(refund)["action"] == "project.change" and last(refund)["about"] == {"ask_purpose": True}
    assert asks(operator.get("/")) and "asks for a purpose" in text(operator.get("/settings"))
    operator.post("/settings/purpose", {"ask": "maybe"})
    assert asks(operator.get("/"))
    say(operator)
    operator.post("/settings/purpose", {"ask": "0"})
    assert last(refund)["about"] == {"ask_purpose": False}
    assert "Purpose:" not in text(operator.get("/")) and "purpose" not in last(refund)["about"]  # said before, and of no use now
    assert operator.get("/settings/purpose").status_code == 405


@pytest.mark.parametrize("role", ["viewer", "investigator", "compliance", "examiner"])
def test_nobody_else_turns_it_off(asking: World, role: str) -> None:
    client = person(asking.project, "ines", role)
    assert client.post("/settings/purpose", {"ask": "0"}).status_code == 403
    assert models.Project.objects.get(pk=asking.project.pk).ask_purpose


def test_the_access_log_shows_purpose_and_case_and_finds_by_case(asking: World, operator: Client) -> None:
    key = asking.key_of(SESSION)
    operator.get("/access")
    say(operator)
    operator.get(f"/sessions/{key}")
    asking.bench.derive()
    page = text(operator.get("/access?object=case:4711"))
    assert "Complaint of 3 March" in page and "looked at a decision" in page and "looked at this list</td>" not in page
    (row,) = csv.DictReader(io.StringIO(b"".join(operator.get("/access.csv?object=case:4711").streaming_content).decode("utf-8-sig")))  # type: ignore[attr-defined]
    assert (row["action"], row["purpose"], row["case"]) == ("session.view", "Complaint of 3 March", "4711")
    (found,) = asking.api.json("access-log", object="case:4711")["results"]
    assert found["purpose"] == "Complaint of 3 March" and set(found["objects"]) == {"case:4711", f"session:{key}"}
