"""Owns the checks of who may do what on the pages, and that everything that was seen was recorded first."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from auditlog import governance, models
from auditlog.errors import Problem
from auditlog.item import Rest
from auditlog.platform.first_run import OPERATOR
from auditlog.verify.batches import check_batch
from auditlog.web.access import ROLES
from auditlog.web.models import SavedSearch
from auditlog.web.urls import urlpatterns
from tests.db.api.conftest import PASSWORD, World, person

SESSION = "sess-openinference-chat_refund"
SAID = ("Why was my account charged", "rule 3b holds", "cr_55120", "400.00", "Never promise")


def text(answer: Any) -> str:
    return str(answer.content.decode())


def recorded(world: World, *actions: str) -> list[dict[str, Any]]:
    """Every governance event of the project, in the order of commit, read back from the evidence: of these actions, else all but the use
    of keys."""
    reader = world.bench.reader
    numbers = [row[0] for row in world.bench.rows("SELECT batch_no FROM batch WHERE protocol = 5 ORDER BY batch_no")]
    items = [stored.item for stored in reader.events_of_batches(numbers, lambda _: True)]
    found = [json.loads(item.raw()) for item in items if isinstance(item, Rest) and item.governance]
    return [event for event in found if (event["action"] in actions if actions else event["action"] != "key.use")]


def said(world: World) -> list[str]:
    return [event["action"] for event in recorded(world)]


def test_a_viewer_finds_the_session_and_reads_nothing_of_it(refund: World) -> None:
    viewer = person(refund.project, "vera", "viewer")
    key = refund.key_of(SESSION)
    for path in ("/", "/?q=ACME-2024", f"/sessions/{key}", "/?view=sessions", "/quarantine"):
        page = text(viewer.get(path))
        for words in SAID:
            assert words not in page, (path, words)
    assert "ACME-2024" in text(viewer.get("/")) and "issue_credit" in text(viewer.get(f"/sessions/{key}"))
    assert "not shown to your role" in text(viewer.get(f"/sessions/{key}"))


@pytest.mark.parametrize("role", ["viewer", "compliance", "admin"])
def test_without_the_right_to_content_there_is_no_way_to_it(refund: World, role: str) -> None:
    client = person(refund.project, "vera", role)
    key = refund.key_of(SESSION)
    event = refund.api.json("events", session=key)["results"][0]["id"]
    api = (f"/api/v1/events/{event}/raw", f"/api/v1/sessions/{key}/timeline", "/api/v1/actions")
    for path in (*api, f"/events/{event}", "/find?value=cr_55120", "/?value=cr_55120", "/?amount_min=400"):
        assert client.get(path).status_code == 403, path
    assert "No session matches" in text(client.get("/?q=duplicate"))  # whether a word was said is content
    assert "No session matches" in text(client.get("/?q=cr_55120"))
    assert SESSION in text(client.get("/?q=ACME-2024"))


@pytest.mark.parametrize("role", ["investigator", "examiner"])
def test_a_reader_of_content_reads_it_and_manages_nothing(refund: World, role: str) -> None:
    client = person(refund.project, "ines", role)
    assert "cr_55120" in text(client.get(f"/sessions/{refund.key_of(SESSION)}"))
    assert "API keys" not in text(client.get("/settings"))
    for name in ("keys", "members"):
        assert client.post(reverse(name)).status_code == 403
    assert models.ApiKey.objects.filter(project=refund.project).count() == 2


def test_the_roles_are_groups_of_the_database(world: World) -> None:
    assert set(ROLES) <= set(Group.objects.values_list("name", flat=True))
    assert set(OPERATOR) <= set(ROLES)


@pytest.mark.parametrize("change", ["ended", "removed", "inactive"])
def test_a_membership_that_has_ended_shows_nothing_from_that_moment_on(refund: World, change: str) -> None:
    client = person(refund.project, "ines", "investigator")
    key = refund.key_of(SESSION)
    assert client.get(f"/sessions/{key}").status_code == 200
    member = models.Member.objects.get(user__username="ines")
    if change == "ended":
        models.Member.objects.filter(pk=member.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    elif change == "removed":
        member.delete()
    else:
        User.objects.filter(username="ines").update(is_active=False)
    for path in ("/", f"/sessions/{key}", "/settings", "/quarantine", f"/api/v1/sessions/{key}/timeline"):
        answer = client.get(path)
        assert answer.status_code in (302, 401, 403) and "ACME" not in text(answer), path


def test_a_membership_that_has_ended_does_not_stand_before_one_that_has_not_in_a_younger_project(refund: World) -> None:
    client = person(refund.project, "ines", "investigator")
    models.Member.join(User.objects.get(username="ines"), refund.other, ["viewer", "compliance"])
    assert "ACME" in text(client.get("/?q=ACME-2024"))
    models.Member.objects.filter(project=refund.project, user__username="ines").update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "No session matches" in text(client.get("/?q=ACME-2024"))
    assert client.get("/retention").status_code == 200 and client.get(f"/sessions/{refund.key_of(SESSION)}").status_code == 404


def test_somebody_of_another_project_sees_nothing_at_any_address(refund: World, operator: Client) -> None:
    other = person(refund.other, "olga", *ROLES)
    key = refund.key_of(SESSION)
    event = refund.api.json("events", session=key)["results"][0]["id"]
    own_key = models.ApiKey.objects.filter(project=refund.project).first()
    own_member = models.Member.objects.get(user__username="operator")
    assert own_key is not None
    own_search = SavedSearch.objects.create(project=refund.project, user=own_member.user, name="of project one", query="", shared=True)
    values = {"key": key, "public_id": event, "number": 1}
    open_to_all = {"search", "results-csv", "results-json", "searches", "find", "login", "logout", "quarantine"}
    open_to_all |= {"agents", "log", "retention", "exports", "settings", "password", "keys", "members", "welcome", "purpose", "ask"}
    open_to_all |= {"retention-preview", "rules", "clocks", "longer", "erasures", "access", "access-csv", "access-json"}
    checked, released = 0, {"recipient": "x", "purpose": "x", "description": "x"}
    for pattern in urlpatterns:
        if pattern.name in open_to_all:
            continue
        own = {"member": own_member, "saved": own_search}.get(str(pattern.name).partition("-")[0], own_key)
        values["pk"] = own.pk
        address = reverse(str(pattern.name), args=[values[name] for name in pattern.pattern.converters])
        for answer in (other.get(address), other.post(address, {"word": "revoke", "overlap": "0", "do": "cancel", **released})):
            assert answer.status_code in (404, 405), (address, answer.status_code)
            checked += answer.status_code == 404
    assert checked >= 8
    for path in ("/", "/?q=ACME-2024", "/agents", "/log", "/quarantine", "/retention", "/exports", "/access", "/settings", "/searches"):
        assert "of project one" not in text(other.get(path)), path
        assert "cr_55120" not in text(other.get(path)) and f"/sessions/{key}" not in text(other.get(path)), path
        assert own_key.public_id not in text(other.get(path)), path
    assert other.get("/find?session_id=" + SESSION).status_code == 404


# -- what was seen was recorded ------------------------------------------------------------------------------------------------


def test_every_view_of_content_is_recorded_with_who_what_and_from_where(refund: World, operator: Client) -> None:
    key = refund.key_of(SESSION)
    event = refund.api.json("events", session=key)["results"][0]["id"]
    before = len(recorded(refund))
    operator.get("/", {"q": "ACME-2024"})
    operator.get(f"/sessions/{key}")
    operator.get(f"/events/{event}")
    operator.get(f"/api/v1/events/{event}/raw")
    refund.api.json(f"sessions/{key}/timeline")
    found = recorded(refund)[before:]
    assert [one["action"] for one in found] == ["search", "session.view", "event.view", "event.download", "session.read"]
    search, view, *_, read = found
    assert search["about"] == {"filters": {"q": "ACME-2024"}, "sessions": [key]}
    assert view["about"]["session"] == key and view["actor"]["name"] == "operator"
    assert view["actor"]["roles"] == ["investigator", "compliance", "admin"]
    assert view["actor"]["address"] == "127.0.0.1" and view["at"]
    assert read["actor"]["kind"] == "key" and read["about"]["path"].endswith(f"/{key}/timeline")
    assert refund.read_key.split("_")[1] == read["actor"]["id"] and refund.read_key not in json.dumps(found)


def test_what_shows_nothing_is_not_recorded_as_shown(refund: World, operator: Client) -> None:
    before = len(recorded(refund))
    operator.get("/", {"q": "nobody ever said this"})
    operator.get("/sessions/nope")
    operator.get("/events/nope")
    assert recorded(refund)[before:] == []


def test_what_cannot_be_recorded_is_not_shown(refund: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise Problem("store_unavailable", "The store is away.")

    key = refund.key_of(SESSION)
    event = refund.api.json("events", session=key)["results"][0]["id"]
    monkeypatch.setattr(governance._recorder._writer, "write", away)
    for path in (f"/sessions/{key}", f"/events/{event}", "/", f"/api/v1/sessions/{key}/timeline", f"/api/v1/events/{event}/raw"):
        answer = operator.get(path)
        assert answer.status_code == 503 and "cr_55120" not in text(answer), path
    assert Client().post("/login", {"username": "operator", "password": PASSWORD}).status_code == 503


def test_logins_are_recorded_and_records_are_no_sessions_of_agents(refund: World, operator: Client) -> None:
    client = Client()
    client.post("/login", {"username": "operator", "password": "wrong"})
    client.post("/login", {"username": "operator", "password": PASSWORD})
    client.post("/logout")
    assert said(refund)[-3:] == ["login.failed", "login", "logout"]
    before = refund.api.json("status")["events"]
    refund.bench.derive()
    status = refund.api.json("status")
    assert status["events"] == before and status["pending_batches"] == 0
    assert len(refund.api.json("sessions")["results"]) == 1
    assert all(event["item"] != "governance" for event in refund.api.json("events")["results"])


def test_a_record_is_evidence_like_any_other(refund: World, operator: Client) -> None:
    operator.get(f"/sessions/{refund.key_of(SESSION)}")
    (batch,) = refund.bench.rows("SELECT max(batch_no) FROM batch WHERE protocol = 5")[0]
    assert check_batch(refund.bench.owner, batch, lambda _: refund.bench.project.secret) == []
    refund.bench.owner.execute("UPDATE event SET skeleton = skeleton || 'x'::bytea WHERE batch_no = %s", (batch,))
    assert check_batch(refund.bench.owner, batch, lambda _: refund.bench.project.secret) != []


def test_without_the_right_to_content_an_instruction_is_asked_for_by_its_version_only(refund: World, operator: Client) -> None:
    """Its text would be a guess that the answer confirms."""
    timeline = refund.api.json(f"sessions/{refund.key_of(SESSION)}/timeline")
    words = timeline["system_prompts"][0]["text"]
    version = hashlib.sha256(words.encode()).hexdigest()
    viewer = person(refund.project, "vera", "viewer")
    assert viewer.get("/", {"system_prompt": words}).status_code == 403
    assert SESSION in text(viewer.get("/", {"system_prompt": version})) and SESSION in text(operator.get("/", {"system_prompt": words}))
