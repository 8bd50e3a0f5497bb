"""Owns the checks of the settings pages: keys that are shown once, members who choose their own password, and nobody locked out."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from auditlog import keys
from auditlog.models import ApiKey, Member
from tests.db.api.conftest import PASSWORD, Api, World, person
from tests.db.api.test_access import recorded, said, text


def made(answer: Any) -> str:
    """The key in an answer that made one."""
    (found,) = set(re.findall(r"al_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}", text(answer)))
    return str(found)


def works(key: str) -> bool:
    return bool(Api(key).get("sessions").status_code == 200)


# -- keys ----------------------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_opens_what_it_says_and_its_making_is_recorded(world: World, operator: Client) -> None:
    answer = operator.post("/settings/keys", {"name": "reports", "scopes": ["read"]})
    key = made(answer)
    assert works(key) and "no-store" in answer["Cache-Control"]
    assert key not in text(operator.get("/settings")) and key.split("_")[1] in text(operator.get("/settings"))
    assert ApiKey.objects.get(name="reports").scopes == ["read"]
    (event,) = [one for one in recorded(world) if one["action"] == "key.create"]
    assert event["about"]["name"] == "reports" and key not in str(event)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "", "scopes": ["read"]}, "This field is required"),
        ({"name": "x"}, "Choose what the key opens"),
        ({"name": "x", "scopes": ["everything"]}, "not one of the available choices"),
        ({"name": "x", "scopes": ["read"], "expires": "2020-01-01"}, "2020-01-01 is past"),
        ({"name": "x", "scopes": ["read"], "expires": "soon"}, "valid date"),
    ],
)
def test_a_form_that_cannot_be_read_makes_nothing_and_says_why(world: World, operator: Client, fields: dict[str, Any], says: str) -> None:
    answer = operator.post("/settings/keys", fields)
    assert answer.status_code == 400 and says in unescape(text(answer))
    assert ApiKey.objects.filter(project=world.project).count() == 2


def test_a_rotated_key_and_its_successor_both_work_until_the_old_one_ends(world: World, operator: Client) -> None:
    old = made(operator.post("/settings/keys", {"name": "agent", "scopes": ["read"]}))
    row = ApiKey.objects.get(name="agent")
    new = made(operator.post(f"/settings/keys/{row.pk}/rotate", {"overlap": "24"}))
    assert new != old and works(old) and works(new)
    ends = ApiKey.objects.get(pk=row.pk).expires_at
    assert ends is not None and timedelta(hours=23) < ends - timezone.now() <= timedelta(hours=24)
    ApiKey.objects.filter(pk=row.pk).update(expires_at=timezone.now())
    assert not works(old) and works(new)
    assert operator.post(f"/settings/keys/{row.pk}/rotate", {"overlap": "24"}).status_code == 400  # it has ended


def test_a_key_is_revoked_only_by_its_word_and_for_good(world: World, operator: Client) -> None:
    key = made(operator.post("/settings/keys", {"name": "agent", "scopes": ["read"]}))
    row = ApiKey.objects.get(name="agent")
    assert operator.post(f"/settings/keys/{row.pk}/revoke", {"word": "yes"}).status_code == 400 and works(key)
    assert operator.post(f"/settings/keys/{row.pk}/revoke", {"word": "Revoke"}).status_code == 302 and not works(key)
    assert operator.post(f"/settings/keys/{row.pk}", {"name": "agent", "scopes": ["read"]}).status_code == 400 and not works(key)
    assert said(world)[-1] == "key.revoke"


def test_what_a_key_opens_can_be_narrowed(world: World, operator: Client) -> None:
    key = made(operator.post("/settings/keys", {"name": "agent", "scopes": ["read", "ingest"]}))
    row = ApiKey.objects.get(name="agent")
    assert operator.post(f"/settings/keys/{row.pk}", {"name": "agent", "scopes": ["ingest"], "expires": ""}).status_code == 302
    assert Api(key).get("sessions").status_code == 403
    assert keys.digest(key) == bytes(ApiKey.objects.get(pk=row.pk).secret_digest)


@pytest.mark.parametrize("path", ["/settings/keys", "/settings/members"])
def test_an_address_that_changes_something_cannot_be_opened_as_a_link(world: World, operator: Client, path: str) -> None:
    assert operator.get(path).status_code == 405


def test_without_its_token_a_form_changes_nothing(world: World, operator: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert strict.post("/settings/keys", {"name": "planted", "scopes": ["read"]}).status_code == 403
    assert not ApiKey.objects.filter(name="planted").exists()


# -- members -------------------------------------------------------------------------------------------------------------------


def welcome(answer: Any) -> str:
    (found,) = set(re.findall(r"/welcome/[^\"<]+", text(answer)))
    return str(found)


def test_a_new_member_chooses_a_password_by_a_link_that_works_once(world: World, operator: Client) -> None:
    link = welcome(operator.post("/settings/members", {"username": "ines", "roles": ["investigator"]}))
    assert "has not chosen a password yet" in text(operator.get("/settings"))
    client = Client()
    form = client.get(link, follow=True)
    place = form.redirect_chain[-1][0]
    weak = client.post(place, {"new_password1": "short", "new_password2": "short"})
    assert weak.status_code == 200 and "at least 12 characters" in text(weak)
    assert client.post(place, {"new_password1": PASSWORD, "new_password2": PASSWORD}).status_code == 302
    assert client.login(username="ines", password=PASSWORD) and client.get("/").status_code == 200
    assert "This link has ended" in text(Client().get(link, follow=True))
    assert said(world).count("member.add") == 1


def test_an_examiner_needs_a_day(world: World, operator: Client) -> None:
    answer = operator.post("/settings/members", {"username": "max", "roles": ["examiner"]})
    assert answer.status_code == 400 and "until a day that is set" in text(answer) and not User.objects.filter(username="max").exists()
    day = (timezone.now() + timedelta(days=3)).date()
    assert operator.post("/settings/members", {"username": "max", "roles": ["examiner"], "expires": day.isoformat()}).status_code == 200
    assert Member.objects.get(user__username="max").expires_at.date() == day + timedelta(days=1)  # type: ignore[union-attr]


def test_the_last_admin_cannot_be_removed_demoted_or_given_an_end(world: World, operator: Client) -> None:
    me = Member.objects.get(user__username="operator")
    tomorrow = (timezone.now() + timedelta(days=1)).date().isoformat()
    for path, fields in (("remove", {"word": "remove"}), ("", {"roles": ["viewer"]}), ("", {"roles": ["admin"], "expires": tomorrow})):
        answer = operator.post(f"/settings/members/{me.pk}/{path}".rstrip("/"), fields)
        assert answer.status_code == 400 and "nobody could manage this project" in text(answer), path
    person(world.project, "second", "admin")
    assert operator.post(f"/settings/members/{me.pk}", {"roles": ["viewer"]}).status_code == 302
    assert operator.post("/settings/keys", {"name": "x", "scopes": ["read"]}).status_code == 403  # at once


def test_a_removed_member_is_out_at_once(world: World, operator: Client) -> None:
    ines = person(world.project, "ines", "investigator")
    assert ines.get("/").status_code == 200
    member = Member.objects.get(user__username="ines")
    assert operator.post(f"/settings/members/{member.pk}/remove", {"word": ""}).status_code == 400 and ines.get("/").status_code == 200
    assert operator.post(f"/settings/members/{member.pk}/remove", {"word": "remove"}).status_code == 302
    assert ines.get("/").status_code == 403


def test_an_admin_of_one_project_cannot_become_a_member_of_another(world: World, operator: Client) -> None:
    person(world.other, "olga", "investigator")
    answer = operator.post("/settings/members", {"username": "olga", "roles": ["viewer"]})
    assert answer.status_code == 302  # she logs in as before: no link to her account is made
    member = Member.objects.get(user__username="olga", project=world.project)
    answer = operator.post(f"/settings/members/{member.pk}/link")
    assert answer.status_code == 403 and "/welcome/" not in text(answer)


# -- one's own account ---------------------------------------------------------------------------------------------------------


def test_a_changed_password_ends_every_other_session(world: World, operator: Client) -> None:
    elsewhere = Client()
    elsewhere.login(username="operator", password=PASSWORD)
    fields = {"old_password": PASSWORD, "new_password1": "another long passphrase", "new_password2": "another long passphrase"}
    assert operator.post("/settings/password", {**fields, "old_password": "wrong"}).status_code == 400
    assert operator.post("/settings/password", fields).status_code == 302
    assert operator.get("/").status_code == 200 and elsewhere.get("/").status_code == 302
    assert "password.change" in said(world) and "another long" not in str(recorded(world))


@pytest.mark.parametrize(
    ("waits", "stays"),
    [([1800] * 3, True), ([3601], False), ([1800] * 25, False)],
    ids=["used now and then", "idle for an hour", "used all day"],
)
def test_a_login_ends_by_itself(world: World, operator: Client, monkeypatch: pytest.MonkeyPatch, waits: list[int], stays: bool) -> None:
    now = time.time()
    operator.get("/")
    for wait in waits:
        now += wait
        monkeypatch.setattr(time, "time", lambda at=now: at)
        last = operator.get("/")
    assert (last.status_code == 200) is stays
