"""Owns the checks of the pages: who may see them, that they tell the story, and that nothing stored becomes markup."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.test import Client

from auditlog.item import STRING, Context, Item, Span
from auditlog.web import login
from auditlog.web.models import LoginFailure
from tests.db.api.conftest import PASSWORD, World

SESSION = "sess-openinference-chat_refund"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7|add:7 }}{% debug %}</script>\u202e\x1b[2J javascript:alert(1)"


def text(answer: object) -> str:
    return answer.content.decode()  # type: ignore[attr-defined, no-any-return]


def test_without_a_login_every_page_leads_to_it(refund: World) -> None:
    key = refund.key_of(SESSION)
    event = refund.api.json("events", session=key)["results"][0]["id"]
    for path in ("/", f"/sessions/{key}", f"/events/{event}"):
        answer = Client().get(path)
        assert answer.status_code == 302 and answer["Location"].startswith("/login?next="), path


def test_a_person_of_no_project_sees_nothing(refund: World) -> None:
    User.objects.create_user("stranger", password=PASSWORD)
    client = Client()
    client.login(username="stranger", password=PASSWORD)
    assert client.get("/").status_code == 403
    assert client.get("/api/v1/sessions").status_code == 403
    assert client.get(f"/sessions/{refund.key_of(SESSION)}").status_code == 403


def test_the_ledger_shows_the_credit_and_leads_to_the_decision(refund: World, operator: Client) -> None:
    page = text(operator.get("/", {"q": "ACME-2024"}))
    key = refund.key_of(SESSION)
    assert f'href="/sessions/{key}"' in page and "$400.00" in page and "issue_credit" in page and "cr_55120" in page
    decision = text(operator.get(f"/sessions/{key}"))
    assert decision.index("rule 3b holds") < decision.index('aria-label="Tool call issue_credit"')
    assert "It is not proof of what caused the action" in decision


def test_an_event_is_shown_as_sent_with_its_digest(refund: World, operator: Client) -> None:
    event = refund.api.json("events", session=refund.key_of(SESSION))["results"][0]
    page = text(operator.get(f"/events/{event['id']}"))
    assert event["digest"] in page and event["id"] in page and "As sent" in page


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/", 200, "Nothing was received yet"),
        ("/?customer_id=NOBODY", 200, "No session matches"),
        ("/?trace_id=zz", 400, "This search was not run"),
        ("/?bogus=1", 400, "This search was not run"),
        ("/sessions/nope", 404, "Not found"),
        ("/events/nope", 404, "Not found"),
        ("/nowhere", 404, "Not found"),
    ],
)
def test_every_empty_or_wrong_page_says_what_to_do(world: World, operator: Client, path: str, status: int, says: str) -> None:
    answer = operator.get(path)
    assert answer.status_code == status and says in text(answer)


def test_every_answer_has_a_strict_policy_with_a_fresh_nonce_and_is_not_cached(refund: World, operator: Client) -> None:
    nonces = set()
    for path in ("/", f"/sessions/{refund.key_of(SESSION)}", "/sessions/nope", "/nowhere", "/?trace_id=zz"):
        answer = operator.get(path)
        policy = answer["Content-Security-Policy"]
        (nonce,) = set(re.findall(r"script-src 'nonce-([^']+)'", policy))
        assert f'nonce="{nonce}"' in text(answer) and "unsafe" not in policy
        for rule in ("object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
            assert rule in policy
        nonces.add(nonce)
        if path != "/nowhere":
            assert "no-store" in answer["Cache-Control"], path
    assert len(nonces) == 5


def test_hostile_content_is_inert_on_every_page(world: World, operator: Client) -> None:
    start = 10**18
    said = [("session.id", STRING, "s"), ("customer.id", STRING, HOSTILE), ("gen_ai.operation.name", STRING, "execute_tool"),
            ("gen_ai.tool.name", STRING, HOSTILE), ("gen_ai.tool.call.arguments", STRING, '{"a": "<script>alert(1)</script>"}'),
            ("gen_ai.tool.call.result", STRING, HOSTILE), ("gen_ai.agent.name", STRING, HOSTILE)]  # fmt: skip
    items: list[Item] = [Span(Context(), b"t" * 16, b"s" * 8, HOSTILE, start, start + 5, said)]
    world.bench.send(items)
    world.bench.derive()
    key = world.key_of("s")
    event = world.api.json("events", session=key)["results"][0]["id"]
    for path in ("/", f"/sessions/{key}", f"/events/{event}", "/?" + "customer_id=%3Cscript%3Ealert(1)%3C/script%3E"):
        page = text(operator.get(path))
        assert "<script>alert" not in page and "<img src=x" not in page, path
        assert "\u202e" not in page and "\x1b" not in page, path
        assert "{% debug %}" in page or path.startswith("/?")
    assert "U+202E" in text(operator.get(f"/sessions/{key}"))


def test_no_page_speaks_of_how_it_is_built(refund: World, operator: Client) -> None:
    key = refund.key_of(SESSION)
    event = refund.api.json("events", session=key)["results"][0]["id"]
    for path in ("/", "/?q=nothing", f"/sessions/{key}", f"/events/{event}", "/sessions/nope"):
        page = re.sub(r"<pre.*?</pre>", "", text(operator.get(path)), flags=re.DOTALL)
        for word in ("bucket", "derive", "dialect", "content key", "skeleton"):
            assert not re.search(rf"\b{word}", page, re.IGNORECASE), (path, word)


def test_times_are_in_the_readers_zone_with_utc_beside_them(refund: World, operator: Client) -> None:
    page = text(operator.get(f"/sessions/{refund.key_of(SESSION)}", {"tz": "Asia/Tokyo"}))
    assert "19:13:22" in page and "2026-11-22 10:13:22." in page
    assert "19:13:22" in text(operator.get(f"/sessions/{refund.key_of(SESSION)}"))  # remembered
    assert operator.get("/", {"tz": "../../etc/passwd"}).status_code == 200


def test_a_page_of_the_ledger_asks_the_database_a_fixed_number_of_times(
    world: World, operator: Client, django_assert_max_num_queries: object
) -> None:
    world.bench.send(
        [Span(Context(), n.to_bytes(16), b"s" * 8, "x", 10**18, 10**18, [("session.id", STRING, f"s{n}")]) for n in range(1, 31)]
    )
    world.bench.derive()
    assert operator.get("/").status_code == 200  # notes in the session when it was seen, once a minute
    with django_assert_max_num_queries(16):  # type: ignore[operator]
        assert text(operator.get("/")).count('class="open"') == 20


# -- logging in ----------------------------------------------------------------------------------------------------------------


def attempt(client: Client, name: str, password: str) -> object:
    return client.post("/login", {"username": name, "password": password})


def test_a_login_makes_a_new_session_key_and_a_logout_ends_it(world: World, operator: Client) -> None:
    client = Client()
    client.get("/login")
    session = client.session
    session["planted"] = 1
    session.save()
    before = client.cookies["auditlog"].value
    assert attempt(client, "operator", PASSWORD).status_code == 302  # type: ignore[attr-defined]
    assert client.cookies["auditlog"].value != before
    assert client.get("/").status_code == 200
    assert client.get("/logout").status_code == 405
    assert client.post("/logout").status_code == 302
    assert client.get("/").status_code == 302


def test_nobody_learns_whether_a_name_exists(world: World) -> None:
    User.objects.create_superuser("operator", password=PASSWORD)
    User.objects.create_user("gone", password=PASSWORD, is_active=False)
    answers = [attempt(Client(), name, "wrong") for name in ("operator", "nobody", "gone")]
    assert {answer.status_code for answer in answers} == {401}  # type: ignore[attr-defined]
    cleaned = {re.sub(r'(nonce|value)="[^"]*"', "", text(answer)) for answer in answers}
    assert len(cleaned) == 1


@pytest.mark.parametrize("name", ["operator", "nobody"])
def test_guessing_is_stopped_even_with_the_right_password(world: World, name: str) -> None:
    User.objects.create_superuser("operator", password=PASSWORD)
    for _ in range(login.PER_ACCOUNT):
        assert attempt(Client(), name, "wrong").status_code == 401  # type: ignore[attr-defined]
    answer = attempt(Client(), name, PASSWORD)
    assert answer.status_code == 429 and "Too many attempts" in text(answer)  # type: ignore[attr-defined]
    LoginFailure.objects.all().delete()
    assert attempt(Client(), "operator", PASSWORD).status_code == 302  # type: ignore[attr-defined]


def test_an_account_name_is_not_kept_in_the_clear(world: World) -> None:
    attempt(Client(), "my-password-by-mistake", "x")
    assert b"mistake" not in bytes(LoginFailure.objects.get().account)


# -- when a page cannot be made ------------------------------------------------------------------------------------------------


def test_a_page_says_so_when_the_database_is_away_even_to_somebody_logged_in(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_self: object) -> None:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr(SessionStore, "load", away)
    operator.raise_request_exception = False
    for path in ("/", "/sessions/x", "/nowhere"):
        answer = operator.get(path)
        assert answer.status_code == 503 and "Nothing was lost" in text(answer), path
        assert "Content-Security-Policy" in answer and "no-store" in answer["Cache-Control"]


def test_a_failure_of_ours_is_a_page_with_the_policy_that_says_nothing_of_what_failed(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("auditlog.web.views.evidence.session", fails)
    operator.raise_request_exception = False
    answer = operator.get("/sessions/x")
    assert answer.status_code == 503 and "the failure is in the service" in text(answer) and "secret" not in text(answer)
    (nonce,) = re.findall(r'<script nonce="([^"]+)"', text(answer))
    assert f"script-src 'nonce-{nonce}'" in answer["Content-Security-Policy"]
