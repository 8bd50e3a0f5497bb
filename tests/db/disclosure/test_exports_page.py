"""Owns the checks of `/exports`: who may, what the form understands, and what the list shows in each state."""

from __future__ import annotations

from typing import Any

from auditlog.disclosure import exports, work
from auditlog.disclosure.scope import Asked
from auditlog.retention import holds
from auditlog.search import evidence
from auditlog.web.access import ROLES, Right
from tests.db.api.conftest import World, person
from tests.db.api.test_access import SESSION, text
from tests.db.disclosure.conftest import CARLA, ask, now

FORM: dict[str, Any] = {"what": "search", "session_id": SESSION, "recipient": "A. <Lawyer>", "purpose": "Case 7"}


def test_a_compliance_officer_asks_watches_pauses_downloads_and_releases(refund: World) -> None:
    carla = person(refund.project, "carla", "compliance")
    page = text(carla.get("/exports"))
    assert "No export yet" in page and "/api/v1/exports" in page and "htmx" not in page
    assert carla.post("/exports", FORM).status_code == 302
    (job,) = exports.listed(evidence.raw_connection(), refund.project.pk)
    page = text(carla.get("/exports"))
    assert "A. &lt;Lawyer&gt;" in page and f"Session <b><bdi>{SESSION}</bdi></b>" in page and 'hx-trigger="every 2s"' in page
    refund.bench.owner.execute(
        "UPDATE export_job SET state = 'running', expected = 8, events = 2, bytes = 3000, rate = 100, seconds_left = 90"
    )
    page = text(carla.get("/exports"))
    assert 'value="25"' in page and "2 of about 8 events" in page and "left" in page and ">Pause<" in page
    assert "is paused" in text(carla.post(f"/exports/{job.id}/turn", {"do": "pause"}, follow=True))
    assert "this takes one that is waiting or running" in text(carla.post(f"/exports/{job.id}/turn", {"do": "pause"}, follow=True))
    carla.post(f"/exports/{job.id}/turn", {"do": "resume"})
    work.work(job.id)
    page = text(carla.get("/exports"))
    done = now(job)
    assert done.manifest_sha256 and done.manifest_sha256.hex() in page and ">Download<" in page and "htmx" not in page
    assert carla.get(f"/exports/{job.id}/download")["Content-Type"] == "application/zip"
    assert "Nothing was recorded" in text(carla.post(f"/exports/{job.id}/release", {"recipient": "x"}, follow=True))
    given = {"recipient": "Court <1>", "purpose": "Order", "description": "One refund"}
    assert "Released to <b><bdi>Court &lt;1&gt;" in text(carla.post(f"/exports/{job.id}/release", given, follow=True))
    refund.bench.owner.execute("UPDATE export_job SET expires_at = now() - interval '1 day'")
    work.tidy()
    page = text(carla.get("/exports"))
    assert "<b>expired</b>" in page and "files removed" in page and "Court &lt;1&gt;" in page and ">Download<" not in page
    assert carla.get(f"/exports/{job.id}/download").status_code == 409


def test_what_the_form_cannot_read_is_said_and_what_was_typed_stays(refund: World) -> None:
    carla = person(refund.project, "carla", "compliance")
    for changed, words in (
        ({"session_id": ""}, "at least one filter"),
        ({"what": "everything"}, "Filters belong to a search"),
        ({"session_id": "nobody"}, "would hold nothing"),
        ({"recipient": ""}, "This field is required"),
        ({"received_from": "yesterday"}, "is no time"),
        ({"withheld": "abc; third party; GDPR"}, "cannot be read"),
    ):
        answer = carla.post("/exports", FORM | changed)
        assert answer.status_code == 400 and words in text(answer) and "Case 7" in text(answer), changed
    assert not exports.listed(evidence.raw_connection(), refund.project.pk)


def test_a_search_leads_to_the_form_and_holds_and_classes_are_offered(refund: World) -> None:
    carla = person(refund.project, "carla", "compliance")
    conn = evidence.raw_connection()
    hold = holds.place(conn, CARLA, refund.project.pk, "Case <7>", "Subpoena", {"session_id": SESSION})
    assert "/exports?session_id=" in text(carla.get("/", {"session_id": SESSION}))
    page = text(carla.get("/exports", {"session_id": SESSION, "min_tool_calls": "1"}))
    assert f'value="{SESSION}"' in page and 'name="min_tool_calls"' in page and 'value="search" selected' in page
    assert f'value="hold:{hold.id}"' in page and "Case &lt;7&gt;" in page and 'value="class:1"' in page
    event = refund.api.json("events", session=refund.key_of(SESSION))["results"][0]["id"]
    form = {"what": f"hold:{hold.id}", "recipient": "A", "purpose": "B", "withheld": f"{event}; third party; Art. 15(4)\n{event}/3; x; y"}
    assert carla.post("/exports", form).status_code == 302
    assert carla.post("/exports", form | {"what": "class:1", "received_from": "2020-01-01"}).status_code == 302
    by_class, by_hold = exports.listed(conn, refund.project.pk)
    assert by_hold.asked == Asked(hold=str(hold.id)) and [one["field"] for one in by_hold.withheld] == [None, 3]
    assert by_class.asked == Asked(class_no=1, since="2020-01-01")


def test_nobody_else_sees_or_changes_it(refund: World) -> None:
    assert [name for name, role in ROLES.items() if Right.EXPORT in role.rights] == ["compliance"]
    job = ask(refund)
    other = person(refund.project, "vera", *(name for name in ROLES if name != "compliance"))
    answers = [other.get("/exports"), other.post("/exports", FORM), other.get(f"/exports/{job.id}/download")]
    answers += [other.post(f"/exports/{job.id}/turn", {"do": "cancel"}), other.post(f"/exports/{job.id}/release", {})]
    assert {answer.status_code for answer in answers} == {403} and 'href="/exports"' not in text(other.get("/"))
    assert now(job).state == "waiting"
    stranger = person(refund.other, "stranger", "compliance")
    assert stranger.post(f"/exports/{job.id}/turn", {"do": "cancel"}).status_code == 404 and now(job).state == "waiting"
