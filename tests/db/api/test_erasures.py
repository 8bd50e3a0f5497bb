"""Owns the checks of requests of erasure over the API and on their pages: who may enter and decide, and that neither erases."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import jsonschema
import pytest
from django.utils import timezone

from auditlog import models
from auditlog.api.schema import document
from auditlog.governance import Actor
from auditlog.retention import erasures, fulfil, holds
from auditlog.retention.erasure import erase_field
from auditlog.store import fields
from auditlog.store.projects import project_secrets
from tests.db.api.conftest import Api, World, person
from tests.db.api.test_access import SESSION, recorded, text
from tests.db.api.test_holds import Admin

ASKED = {"scope": {"session_id": SESSION}, "reason": "Letter <12>", "basis": "GDPR, Art. 17", "asked_by": "letter 12"}
FORM: dict[str, Any] = {"session_id": SESSION, "reason": "Letter <12>", "basis": "GDPR, Art. 17", "asked_by": "letter 12"}
ANA = Actor("person", "1", "ana")
TOMORROW = (timezone.now() + timedelta(days=1)).date().isoformat()


def fits(answer: Any, path: str, method: str = "get") -> None:
    shape = document()["paths"][f"/api/v1/{path}"][method]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(answer, shape)


def entered(world: World) -> list[erasures.Erasure]:
    return erasures.listed(world.bench.owner, world.project.pk)


def carry_out(world: World, number: int) -> dict[str, Any]:
    world.bench.derive()
    done = fulfil.carry_out(world.bench.owner, world.project.pk, number, project_secrets(world.bench.owner))
    world.bench.derive()
    return done


# -- over the API --------------------------------------------------------------------------------------------------------------


def test_a_request_is_entered_previewed_and_listed_by_keys_and_nothing_goes(refund: World) -> None:
    admin = Admin(refund)
    status, made = admin.post("erasures", ASKED)
    assert (status, made["state"], made["scope"], made["entered_by"], made["outcome"]) == (200, "open", ASKED["scope"], "admin", None)
    refund.bench.derive()
    seen = admin.json(f"erasures/{made['id']}/preview")
    assert seen["events"] > 5 and seen["fields"]["input"] and seen["holds"] == []
    again = admin.json(f"erasures/{made['id']}")
    assert again == made
    _, other = admin.post("erasures", ASKED | {"received_at": "2026-03-01", "due_at": "2026-03-09"})
    first = admin.json("erasures", limit=1)
    assert [row["id"] for row in first["results"]] == [other["id"]] and other["due_at"].startswith("2026-03-09")
    following = json.loads(admin.client.get(first["next"], headers=admin.headers).content)
    assert [row["id"] for row in following["results"]] == [made["id"]] and following["next"] is None
    fits(made, "erasures", "post")
    for answer, path in ((first, "erasures"), (again, "erasures/{erasure}"), (seen, "erasures/{erasure}/preview")):
        fits(answer, path)
    assert [event["action"] for event in recorded(refund) if event["action"].startswith("erasure.")] == ["erasure.request"] * 2
    other_key = Api(models.ApiKey.issue(refund.other, "admin", ["read", "admin"])[1])
    assert other_key.json("erasures")["results"] == [] and other_key.get(f"erasures/{made['id']}").status_code == 404
    assert other_key.get(f"erasures/{made['id']}/preview").status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (ASKED | {"scope": {}}, "scope_empty"),
        (ASKED | {"scope": {"q": "refund"}}, "parameter_invalid"),
        (ASKED | {"scope": {"events": "x"}}, "parameter_invalid"),
        (ASKED | {"scope": {"customer_id": ["x"]}}, "parameter_invalid"),
        (ASKED | {"reason": " "}, "parameter_invalid"),
        (ASKED | {"received_at": "yesterday"}, "parameter_invalid"),
        (ASKED | {"received_at": "2026-03-02", "due_at": "2026-03-01"}, "parameter_invalid"),
        (ASKED | {"outcome": "erase"}, "parameter_invalid"),
        (b"[", "parameter_invalid"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_and_nothing_is_entered(refund: World, body: Any, code: str) -> None:
    status, problem = Admin(refund).post("erasures", body)
    assert (status, problem["error"]["code"]) == (400, code) and entered(refund) == []


def test_a_key_or_a_person_that_only_reads_sees_no_request(refund: World) -> None:
    _, made = Admin(refund).post("erasures", ASKED)
    olga = person(refund.project, "olga", "investigator")
    for path in ("erasures", f"erasures/{made['id']}", f"erasures/{made['id']}/preview"):
        assert refund.api.get(path).status_code == 403 and olga.get(f"/api/v1/{path}").status_code == 403


def test_a_key_that_only_reads_enters_nothing(refund: World) -> None:
    answer = refund.api.client.post("/api/v1/erasures", json.dumps(ASKED), content_type="application/json", headers=refund.api.headers)
    assert answer.status_code == 403 and entered(refund) == []


# -- on the page ---------------------------------------------------------------------------------------------------------------


def test_from_the_letter_to_the_certificate_on_the_page(refund: World) -> None:
    carla = person(refund.project, "carla", "compliance")
    assert "Nobody has asked" in text(carla.get("/retention/erasures"))
    answer = carla.post("/retention/erasures", FORM)
    (one,) = entered(refund)
    assert answer.status_code == 302 and answer["Location"] == f"/retention/erasures/{one.id}"
    refund.bench.derive()
    page = text(carla.get(f"/retention/erasures/{one.id}"))
    assert "Letter &lt;12&gt;" in page and f"Session <b><bdi>{SESSION}</bdi></b>" in page and "records</b> of" in page
    assert "1 request to be decided" in text(carla.get("/retention"))
    decided = carla.post(
        f"/retention/erasures/{one.id}/decide", {"outcome": "redact", "fields_": ["2", "3"], "reason": "founded"}, follow=True
    )
    assert "to be carried out" in text(decided) and f"--carry-out {one.id}" in text(decided)
    assert refund.api.json(f"sessions/{refund.key_of(SESSION)}/timeline")["completeness"]["gaps"] == [], "deciding erases nothing"
    carry_out(refund, one.id)
    page = text(carla.get(f"/retention/erasures/{one.id}"))
    assert f"Certificate {one.id}" in page and "(its value was not kept)" in page and ": redacted</h1>" in page
    actions = [event["action"] for event in recorded(refund) if event["action"].startswith("erasure.")]
    assert actions == ["erasure.request", "erasure.decide", "erasure.certificate"]


def test_what_is_restricted_on_the_page_is_hidden_from_it(refund: World) -> None:
    carla, olga = person(refund.project, "carla", "compliance"), person(refund.project, "olga", "investigator")
    key = refund.key_of(SESSION)
    event = next(one["id"] for one in refund.api.json("events", session=key)["results"] if "credit" in one["name"])
    assert refund.api.json("actions", value="cr_55120")["results"] and refund.api.json("sessions", q="cr_55120")["results"]
    assert "cr_55120" in text(olga.get(f"/sessions/{key}")) and "cr_55120" in text(olga.get(f"/events/{event}"))
    carla.post("/retention/erasures", FORM)
    (one,) = entered(refund)
    refund.bench.derive()
    carla.post(f"/retention/erasures/{one.id}/decide", {"outcome": "restrict", "until": TOMORROW, "reason": "disputed"})
    carry_out(refund, one.id)
    assert refund.api.json("actions", value="cr_55120")["results"] == [] and refund.api.json("sessions", q="cr_55120")["results"] == []
    assert refund.api.json("sessions", session_id=SESSION)["results"] == []
    assert "cr_55120" not in text(olga.get(f"/events/{event}")) and "cr_55120" not in str(refund.api.get(f"events/{event}/raw").content)
    assert "restricted" in text(carla.get("/retention/erasures"))


def decided(world: World, outcome: str, *chosen: int, until: datetime | None = None, **scope: Any) -> int:
    """A request that was carried out."""
    at = timezone.now()
    asked = erasures.Asked(scope, "Letter 12", "GDPR", "letter 12", at, at + timedelta(30))
    number = erasures.request(world.bench.owner, ANA, world.project.pk, asked).id
    world.bench.derive()
    erasures.decide(world.bench.owner, ANA, world.project.pk, number, erasures.Decision(outcome, "founded", chosen, until))
    carry_out(world, number)
    return number


def test_the_page_and_the_resource_of_a_record_say_by_which_request_its_values_are_missing(refund: World) -> None:
    olga, both = person(refund.project, "olga", "investigator"), person(refund.project, "both", "investigator", "compliance")
    whole, redacted, *_ = [
        one["id"] for one in refund.api.json("events", session=refund.key_of(SESSION))["results"] if one["kind"] != "other"
    ]
    assert "Values are missing" not in text(olga.get(f"/events/{redacted}"))
    assert refund.api.json(f"events/{redacted}")["withheld"] == {"fields": [], "requests": [], "unaccounted": 0}
    gone = decided(refund, "redact", fields.OUTPUT, fields.OTHER, events=[redacted])
    today = f"{timezone.now():%Y-%m-%d}"
    page = text(olga.get(f"/events/{redacted}"))
    assert "Values are missing" in page and f"Erased on request {gone} for output, other attributes, decided on {today}." in page
    assert "/retention/erasures" not in page, "whoever may not see requests is led to none"
    assert f'Erased on <a href="/retention/erasures/{gone}">request {gone}</a>' in text(both.get(f"/events/{redacted}"))
    hidden = decided(refund, "restrict", until=timezone.now() + timedelta(90), session_id=SESSION)
    later = f"{timezone.now() + timedelta(90):%Y-%m-%d}"
    page = text(olga.get(f"/events/{whole}"))
    assert f"Restricted on request {hidden}, decided on {today}, to be looked at again on {later}" in page and "Erased on" not in page
    page = text(both.get(f"/events/{redacted}"))
    assert (
        f"request {gone}</a> for output, other attributes, decided" in page
        and f'<a href="/retention/erasures/{hidden}">request {hidden}</a>, decided' in page
    )
    answer = refund.api.json(f"events/{redacted}")
    fits(answer, "events/{public_id}")
    first, second = answer["withheld"]["requests"]
    assert {"output", "other attributes"} < set(answer["withheld"]["fields"])
    assert first["fields"] == ["output", "other attributes"] and second["fields"] == [] and answer["withheld"]["unaccounted"] == 0
    assert (first["request"], first["outcome"], first["until"]) == (str(gone), "redact", None) and first["decided_at"].startswith(today)
    assert (second["request"], second["outcome"], second["until"][:10]) == (str(hidden), "restrict", later)


def test_values_that_no_request_took_are_said_to_be_missing_all_the_same(refund: World) -> None:
    record = refund.api.json("events", session=refund.key_of(SESSION))["results"][0]["id"]
    with refund.bench.owner.transaction():
        erase_field(refund.bench.owner, refund.project.pk, project_secrets(refund.bench.owner)(refund.project.pk), record, fields.OTHER)
    page = text(person(refund.project, "olga", "investigator").get(f"/events/{record}"))
    assert "Values are missing" in page and "No request of erasure or restriction in this project says why." in page
    assert refund.api.json(f"events/{record}")["withheld"] == {"fields": ["other attributes"], "requests": [], "unaccounted": 1}


def test_what_went_beside_a_request_is_not_put_down_to_it(refund: World) -> None:
    record = next(one["id"] for one in refund.api.json("events", session=refund.key_of(SESSION))["results"] if one["kind"] != "other")
    number = decided(refund, "redact", fields.OUTPUT, events=[record])
    with refund.bench.owner.transaction():
        erase_field(refund.bench.owner, refund.project.pk, project_secrets(refund.bench.owner)(refund.project.pk), record, fields.OTHER)
    page = text(person(refund.project, "olga", "investigator").get(f"/events/{record}"))
    assert f"Erased on request {number} for output, decided" in page
    assert "Of 1 field of these no request of erasure or restriction in this project says why." in page
    assert refund.api.json(f"events/{record}")["withheld"]["unaccounted"] == 1


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"outcome": "erase"}, "This field is required"),
        ({"reason": "x"}, "Choose an outcome"),
        ({"outcome": "redact", "reason": "x"}, "are given with the outcome redact"),
        ({"outcome": "restrict", "reason": "x"}, "is given with the outcome restrict"),
        ({"outcome": "restrict", "until": "2020-01-01", "reason": "x"}, "is over already"),
        ({"outcome": "erase", "reason": "x", "until": TOMORROW}, "is given with the outcome restrict"),
    ],
)
def test_what_is_wrong_with_a_decision_is_said_and_nothing_is_decided(refund: World, sent: dict[str, Any], words: str) -> None:
    carla = person(refund.project, "carla", "compliance")
    carla.post("/retention/erasures", FORM)
    refund.bench.derive()
    (one,) = entered(refund)
    answer = carla.post(f"/retention/erasures/{one.id}/decide", sent)
    assert answer.status_code == 400 and words in text(answer) and entered(refund)[0].state == "open"


def test_what_is_held_says_by_which_hold_and_is_decided_once(refund: World) -> None:
    carla = person(refund.project, "carla", "compliance")
    carla.post("/retention/erasures", FORM)
    (one,) = entered(refund)
    carla.post("/retention", {"name": "Case 7", "reason": "Subpoena", "session_id": SESSION})
    refund.bench.derive()
    assert "Held, so that nothing of it can be erased: <b><bdi>Case 7</bdi></b>" in text(carla.get(f"/retention/erasures/{one.id}"))
    sent = {"outcome": "erase", "reason": "founded"}
    answer = carla.post(f"/retention/erasures/{one.id}/decide", sent)
    assert answer.status_code == 400 and "nothing was erased" in text(answer)
    (hold,) = holds.standing(refund.bench.owner)
    holds.release(refund.bench.owner, ANA, refund.project.pk, hold.id, "over")
    refund.bench.derive()
    assert carla.post(f"/retention/erasures/{one.id}/decide", sent).status_code == 302
    answer = carla.post(f"/retention/erasures/{one.id}/decide", sent)
    assert answer.status_code == 400 and entered(refund)[0].outcome == "erase"


@pytest.mark.parametrize("role", ["viewer", "investigator", "admin", "examiner"])
def test_nobody_else_sees_enters_or_decides(refund: World, role: str) -> None:
    person(refund.project, "carla", "compliance").post("/retention/erasures", FORM)
    (one,) = entered(refund)
    other = person(refund.project, "vera", role)
    for address in ("/retention/erasures", f"/retention/erasures/{one.id}", f"/retention/erasures/{one.id}/decide"):
        assert other.get(address).status_code == 403 and other.post(address, FORM | {"outcome": "refuse"}).status_code == 403
    assert len(entered(refund)) == 1 and entered(refund)[0].state == "open"
