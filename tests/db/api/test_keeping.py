"""Owns the checks of rules, told events and previews over the API and on their pages: who may, and what a wrong request is told."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from auditlog.api.schema import document
from auditlog.retention import clocks, reclassify, rules
from tests.db.api.conftest import Api, World, person
from tests.db.api.test_access import recorded, text
from tests.db.api.test_holds import Admin

DEV = {"attribute": "deployment.environment.name", "value": "dev", "class": 4}
LONGER = {"class": 1, "reason": "Contract", "scope": {"customer_id": "ACME-2024"}}
TOLD = {"kind": "customer", "value": "ACME-2024", "event": "account closed", "at": "2026-03-01"}


def fits(answer: Any, path: str, method: str = "get") -> None:
    shape = document()["paths"][f"/api/v1/{path}"][method]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(answer, shape)


# -- over the API --------------------------------------------------------------------------------------------------------------


def test_rules_are_read_and_replaced_by_a_key_for_it(refund: World) -> None:
    admin = Admin(refund)
    empty = refund.api.json("retention-rules")
    assert empty == {"version": 0, "rules": [], "created_at": None, "created_by": None}
    status, made = admin.post("retention-rules", {"rules": [DEV], "version": 0})
    assert (status, made["version"], made["rules"], made["created_by"]) == (200, 1, [DEV], "admin")
    assert refund.api.json("retention-rules") == made
    for answer, method in ((empty, "get"), (made, "post")):
        fits(answer, "retention-rules", method)
    status, problem = admin.post("retention-rules", {"rules": [], "version": 0})
    assert (status, problem["error"]["code"]) == (409, "state_conflict")
    assert [event["action"] for event in recorded(refund) if event["action"].startswith("class.")] == ["class.rules"]
    assert Api(refund.other_key).json("retention-rules")["rules"] == []


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("retention-rules", {"rules": [DEV | {"class": 8_888}], "version": 0}, "no retention class"),
        ("retention-rules", {"rules": [DEV | {"class": 2**70}], "version": 0}, "class"),
        ("retention-rules", {"rules": [DEV | {"attribute": ""}], "version": 0}, "1 to"),
        ("retention-rules", {"rules": [DEV, DEV], "version": 0}, "second could never"),
        ("retention-rules", {"rules": [{"attribute": "x"}], "version": 0}, "cannot be read"),
        ("retention-rules", {"rules": [DEV]}, "version"),
        ("retention-rules", b"\xff", "cannot be read"),
        ("clock-events", TOLD | {"kind": "agent"}, "kind"),
        ("clock-events", TOLD | {"value": "a\0b"}, "NUL"),
        ("clock-events", TOLD | {"at": "yesterday"}, "at"),
        ("clock-events", {"kind": "customer"}, "cannot be read"),
        ("reclassifications", {"class": 1, "reason": "x", "scope": {"nope": "x"}}, "nope"),
        ("reclassifications", {"class": 1, "reason": "", "scope": {"customer_id": "x"}}, "reason"),
        ("reclassifications", {"class": "1", "reason": "x", "scope": {"customer_id": "x"}}, "class"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_changed(refund: World, path: str, body: Any, words: str) -> None:
    status, problem = Admin(refund).post(path, body)
    assert (status, problem["error"]["code"]) == (400, "parameter_invalid") and words in problem["error"]["message"]
    assert rules.in_force(refund.bench.owner, refund.project.pk).version == 0 and clocks.listed(refund.bench.owner, refund.project.pk) == []
    assert reclassify.listed(refund.bench.owner, refund.project.pk) == []


def test_a_key_that_reads_changes_neither(refund: World) -> None:
    reader = Admin(refund)
    reader.headers = {"Authorization": f"Bearer {refund.read_key}"}
    for path, body in (("retention-rules", {"rules": [], "version": 0}), ("clock-events", TOLD)):
        status, problem = reader.post(path, body)
        assert (status, problem["error"]["code"]) == (403, "scope_missing"), path


def test_events_are_told_and_listed_page_by_page(refund: World) -> None:
    admin = Admin(refund)
    status, made = admin.post("clock-events", TOLD)
    assert (status, made["at"], made["told_by"]) == (200, "2026-03-01T00:00:00.000000Z", "admin")
    fits(made, "clock-events", "post")
    _, stopped = admin.post("clock-events", TOLD | {"event": "opened again", "at": None})
    first = refund.api.json("clock-events", limit=1)
    fits(first, "clock-events")
    assert first["results"] == [stopped] and stopped["at"] is None
    assert refund.api.json("clock-events", cursor=first["next"].split("cursor=")[1].split("&")[0])["results"] == [made]
    assert [event["action"] for event in recorded(refund) if event["action"].startswith("clock.")] == ["clock.tell"] * 2


def test_something_is_kept_longer_by_a_key_and_given_up_by_none(refund: World) -> None:
    admin = Admin(refund)
    status, made = admin.post("reclassifications", LONGER)
    assert (status, made["class"], made["scope"], made["made_by"], made["ended_at"]) == (200, 1, LONGER["scope"], "admin", None)
    fits(made, "reclassifications", "post")
    admin.post("reclassifications", LONGER | {"class": 2})
    first = refund.api.json("reclassifications", limit=1)
    fits(first, "reclassifications")
    following = refund.api.json("reclassifications", cursor=first["next"].split("cursor=")[1].split("&")[0])
    assert [one["class"] for one in first["results"]] == [2] and following["results"] == [made]
    path = f"reclassifications/{made['id']}"
    assert refund.api.json(path) == made
    assert admin.client.post(f"/api/v1/{path}", "{}", content_type="application/json", headers=admin.headers).status_code == 405
    reader = Admin(refund)
    reader.headers = {"Authorization": f"Bearer {refund.read_key}"}
    assert reader.post("reclassifications", LONGER)[0] == 403
    stranger = Api(refund.other_key)
    assert stranger.json("reclassifications")["results"] == [] and stranger.get(path).status_code == 404
    assert [event["action"] for event in recorded(refund) if "extend" in event["action"]] == ["class.extend"] * 2


def test_a_preview_counts_the_project_of_the_key(refund: World) -> None:
    found = refund.api.json("retention-classes/1/preview", days=30)
    fits(found, "retention-classes/{class_no}/preview")
    events = len(refund.api.json("events")["results"])
    assert (found["days"], found["new_days"], found["second_person"], found["becomes_due"]["events"]) == (2557, 30, True, 0)
    assert sum(one["events"] for one in found["periods"]) >= events and sum(one["sessions"] for one in found["periods"]) == 1
    other = Api(refund.other_key).json("retention-classes/1/preview", days=30)
    assert [sum(one[name] for one in other["periods"]) for name in ("sessions", "events")] == [0, 1], "the record of its key's use today"
    refused = refund.api.get("retention-classes/3/preview", days=100)
    assert refused.status_code == 409 and b"below_floor" in refused.content


# -- on the pages --------------------------------------------------------------------------------------------------------------

RULE = {"rule-attribute": "agent.risk", "rule-value": "<high>", "rule-class_no": "3", "rule-place": ""}
TELL = {"tell-kind": "customer", "tell-value": "<ACME>", "tell-event": "account closed", "tell-at": "2026-03-01"}


def test_a_rule_is_added_and_removed_on_the_page(refund: World) -> None:
    carla = person(refund.project, "carla", "compliance")
    assert "This project has no rules" in text(carla.get("/retention"))
    assert carla.post("/retention/rules", RULE).status_code == 302
    carla.post("/retention/rules", RULE | {"rule-value": "low", "rule-class_no": "4", "rule-place": "1"})
    page = text(carla.get("/retention"))
    assert "&lt;high&gt;" in page and "<high>" not in page and page.index("low</bdi>") < page.index("&lt;high&gt;</bdi>")
    found = rules.in_force(refund.bench.owner, refund.project.pk)
    assert [(one.value, one.class_no) for one in found.rules] == [("low", 4), ("<high>", 3)]
    carla.post("/retention/rules/remove", {"attribute": "agent.risk", "value": "<high>"})
    assert [one.value for one in rules.in_force(refund.bench.owner, refund.project.pk).rules] == ["low"]
    assert carla.post("/retention/rules/remove", {"attribute": "agent.risk", "value": "<high>"}).status_code == 404


@pytest.mark.parametrize(
    ("address", "sent", "words"),
    [
        ("/retention/rules", RULE | {"rule-attribute": ""}, "This field is required"),
        ("/retention/rules", RULE | {"rule-class_no": "8888"}, "Select a valid choice"),
        ("/retention/rules", RULE | {"rule-place": "9"}, "a number from 1 to 1"),
        ("/retention/clocks", TELL | {"tell-at": "yesterday"}, "is no time"),
        ("/retention/clocks", TELL | {"tell-kind": "agent"}, "another kind of subject"),
    ],
)
def test_what_is_wrong_in_a_form_is_said_and_stays_typed(refund: World, address: str, sent: dict[str, str], words: str) -> None:
    answer = person(refund.project, "carla", "compliance").post(address, sent)
    assert answer.status_code == 400 and words in text(answer)
    assert ("account closed" if "clocks" in address else "&lt;high&gt;") in text(answer)
    assert rules.in_force(refund.bench.owner, refund.project.pk).version == 0 and clocks.listed(refund.bench.owner, refund.project.pk) == []


def test_an_event_is_told_on_the_page_and_an_empty_time_stops_the_clock(refund: World) -> None:
    carla = person(refund.project, "carla", "compliance")
    carla.post("/retention/clocks", TELL)
    carla.post("/retention/clocks", TELL | {"tell-at": "", "tell-event": "opened again"})
    page = text(carla.get("/retention"))
    assert "customer <b><bdi>&lt;ACME&gt;" in page and "it does not run" in page and "opened again" in page
    assert [one.at is None for one in clocks.listed(refund.bench.owner, refund.project.pk)] == [True, False]


def test_the_preview_is_a_page_that_says_what_would_happen(refund: World) -> None:
    carla = person(refund.project, "carla", "compliance")
    page = text(carla.get("/retention/preview?class=1&days=30"))
    assert "30 days instead of 2,557" in page and "wait for a second person" in page and "1 session" in page
    assert "manage.py retention --revise 1 --days 30 --by carla" in page
    answer = carla.get("/retention/preview?class=3&days=20")
    assert answer.status_code == 409 and "may not go below" in text(answer)
    assert carla.get("/retention/preview").status_code == 200


KEEP = {"longer-class_no": "2", "longer-reason": "<Contract>", "longer-customer_id": "<ACME>"}


def test_something_is_kept_longer_on_the_page_and_given_up_by_somebody_else(refund: World) -> None:
    carla, dora = person(refund.project, "carla", "compliance"), person(refund.project, "dora", "compliance")
    assert carla.post("/retention/longer", KEEP).status_code == 302
    page = text(carla.get("/retention"))
    assert "&lt;Contract&gt;" in page and "&lt;ACME&gt;" in page and "<ACME>" not in page and "class 2" in page
    (made,) = reclassify.listed(refund.bench.owner, refund.project.pk)
    end, why = f"/retention/longer/{made.id}/end", {"reason": "mistaken", "word": "end"}
    assert "by somebody else" in text(carla.post(end, why, follow=True))
    assert "Type" in text(dora.post(end, why | {"word": "no"}, follow=True))
    assert reclassify.get(refund.bench.owner, refund.project.pk, made.id).ended_at is None
    assert "It is ended" in text(dora.post(end, why, follow=True)) and "mistaken" in text(dora.get("/retention"))
    assert "ended before" in text(dora.post(end, why, follow=True))
    assert dora.post(f"/retention/longer/{2**70}/end", why).status_code == 404


@pytest.mark.parametrize(
    ("sent", "words"),
    [({"longer-customer_id": ""}, "at least one filter"), ({"longer-reason": ""}, "This field is required"),
     ({"longer-class_no": "8888"}, "Select a valid choice"), ({"longer-from": "yesterday"}, "yesterday")],
)  # fmt: skip
def test_what_is_wrong_about_keeping_longer_is_said_and_stays_typed(refund: World, sent: dict[str, str], words: str) -> None:
    answer = person(refund.project, "carla", "compliance").post("/retention/longer", KEEP | sent)
    assert answer.status_code == 400 and words in text(answer) and ("&lt;Contract&gt;" in text(answer) or "longer-reason" in sent)
    assert reclassify.listed(refund.bench.owner, refund.project.pk) == []


@pytest.mark.parametrize("role", ["viewer", "investigator", "admin", "examiner"])
def test_nobody_else_sees_or_changes_any_of_it(refund: World, role: str) -> None:
    other = person(refund.project, "vera", role)
    answers = [other.post("/retention/rules", RULE), other.post("/retention/clocks", TELL), other.get("/retention/preview")]
    answers += [other.post("/retention/longer", KEEP), other.post("/retention/longer/1/end", {"reason": "x", "word": "end"})]
    assert {answer.status_code for answer in answers} == {403}
    assert rules.in_force(refund.bench.owner, refund.project.pk).version == 0


def test_a_long_list_of_told_events_says_that_there_are_older_ones(refund: World, monkeypatch: pytest.MonkeyPatch) -> None:
    carla = person(refund.project, "carla", "compliance")
    monkeypatch.setattr("auditlog.web.retention.SHOWN", 1)
    carla.post("/retention/clocks", TELL)
    assert "These are the newest" not in text(carla.get("/retention"))
    carla.post("/retention/clocks", TELL | {"tell-event": "opened again"})
    page = text(carla.get("/retention"))
    assert "These are the newest" in page and "opened again" in page and "account closed</bdi>" not in page
