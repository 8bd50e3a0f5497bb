"""Owns the checks of the access log: every record has its row, is found by who, what, when and to which object, and is seen by who may."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from django.test import Client

from auditlog import conf, governance
from auditlog.derive import rebuild
from auditlog.derive.deeds import deed
from auditlog.governance import Action, Actor
from auditlog.item import Rest
from auditlog.web.access_log import WORDS
from tests.asked import asked
from tests.db.api.conftest import World, person
from tests.db.api.test_access import text


def done(world: World, **given: str) -> list[tuple[str, str]]:
    """(who, what) as the API lists them, newest first."""
    world.bench.derive()
    return [(one["actor"]["name"], one["action"]) for one in world.api.json("access-log", **given)["results"]]


def test_what_people_and_keys_did_is_found_by_who_what_when_and_to_which_object(refund: World) -> None:
    key = refund.only_key()
    carla = person(refund.project, "carla", "compliance", "investigator")
    carla.get(f"/sessions/{key}")
    carla.post("/retention", {"name": "Case 7", "reason": "Subpoena", "customer_id": "ACME-2024"})
    refund.api.json(f"sessions/{key}/timeline")
    everything = done(refund)
    assert {("carla", "session.view"), ("carla", "hold.place"), ("read", "session.read"), ("read", "sessions.read")} <= set(everything)
    assert {what for _, what in done(refund, object=f"session:{key}")} >= {"session.view", "session.read"}
    assert set(done(refund, actor="carla", action="hold.")) == {("carla", "hold.place")}
    assert done(refund, actor="carla", to="2020-01-01") == [] and len(done(refund, actor="carla", **{"from": "2020-01-01"})) == 2
    (hold,) = refund.api.json("access-log", action="hold.place")["results"]
    assert hold["purpose"] == "Subpoena" and hold["recorded"]["about"]["scope"] == {"customer_id": "ACME-2024"}
    assert "access.read" in {what for _, what in done(refund)}  # looking at it is recorded like everything else


def test_a_record_says_which_version_of_its_retention_class_was_in_force(refund: World, operator: Client) -> None:
    refund.bench.owner.execute("TRUNCATE part, batch, event, content CASCADE")
    refund.api.get("sessions")
    operator.get("/")
    assert refund.bench.rows("SELECT class_version FROM part WHERE count > 0") == [(1,)] * 3  # the use of the key, and two searches


def test_pages_of_it_have_each_row_once_and_another_project_has_none(refund: World) -> None:
    at = datetime.now(UTC)
    for n in range(7):  # three of them in the same microsecond
        refund.bench.send([governance.event(Actor("person", "1", "ada"), "session.view", {"session": str(n)}, at + timedelta(n // 3))])
    refund.bench.derive()
    seen: list[str] = []
    answer = refund.api.json("access-log", actor="ada", limit=2)
    while True:
        seen += [one["objects"][0] for one in answer["results"]]
        if answer["next"] is None:
            break
        answer = json.loads(refund.api.client.get(answer["next"], headers=refund.api.headers).content)
    assert sorted(seen) == [f"session:{n}" for n in range(7)] and seen[0] == "session:6"
    other = Client().get("/api/v1/access-log", headers={"Authorization": f"Bearer {refund.other_key}"})
    assert json.loads(other.content)["results"] == []


def test_a_rebuild_has_the_same_rows_and_what_cannot_be_read_has_one_too(refund: World) -> None:
    about = {"sessions": ["a\0b", "x" * 900], "event": True}  # longer than what stands beside its event
    refund.bench.send([governance.event(Actor("shell", "root"), "log.rotate", about, datetime.now(UTC))])
    refund.bench.derive()
    columns = rebuild.TABLES["access_log"]
    before = refund.bench.rows(f"SELECT {columns} FROM access_log ORDER BY at, event_id")
    assert any(row[9] == ["session:a\ufffdb", "session:" + "x" * 200] for row in before)
    refund.bench.owner.execute("TRUNCATE access_log, derived, tally, trace, declared, session")
    refund.bench.owner.execute("UPDATE edition SET watermark = 0")
    refund.bench.derive()
    assert refund.bench.rows(f"SELECT {columns} FROM access_log ORDER BY at, event_id") == before

    class Stored:
        project_id, trace_key, event_id, bucket, occurred_at, received_at = 1, None, None, 2, None, datetime.now(UTC)
        item = Rest([b"{", b"}"], [("actor", b"no JSON")], governance=True)

    assert deed(Stored()).action == ""


def test_every_action_has_words_and_a_line_in_the_documents_and_none_is_left_over() -> None:
    table = (conf.ROOT / "docs/howto/access.md").read_text().partition("| action |")[2].partition("\n\n")[0]
    documented = re.findall(r"`([a-z]+(?:\.[a-z]+)?)`", table)
    assert set(WORDS) == set(get_args(Action)) == set(documented)


def test_the_page_shows_it_as_text_and_files_have_all_of_it_without_formulas(refund: World) -> None:
    carla = person(refund.project, "carla", "compliance")
    carla.post("/retention", {"name": "<script>", "reason": "=HYPERLINK(1)", "customer_id": "ACME-2024"})
    refund.bench.derive()
    page = text(carla.get("/access?action=hold.place"))
    assert "placed a hold" in page and "=HYPERLINK(1)" in page and "&lt;script&gt;" in page and "<script>" not in page.split("<main")[1]
    assert "placed a hold" not in text(carla.get("/access?actor=nobody")).split("<table")[-1].split("</select>")[-1]
    wrong = carla.get("/access?object=seven")
    assert wrong.status_code == 400 and "has no kind" in text(wrong)
    lines = b"".join(carla.get("/access.csv?action=hold.place").streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    (row,) = csv.DictReader(io.StringIO(lines))
    assert row["who"] == "carla" and row["purpose"] == "'=HYPERLINK(1)"
    refund.bench.derive()
    file = json.loads(b"".join(carla.get("/access.json").streaming_content))  # type: ignore[attr-defined]
    assert file["cut_short"] is None and {"hold.place", "access.view"} <= {one["action"] for one in file["results"]}
    refund.bench.derive()
    assert "access.download" in {one["action"] for one in refund.api.json("access-log")["results"]}


def test_an_examiner_sees_it(refund: World) -> None:
    examiner = person(refund.project, "ed", "examiner")
    assert [examiner.get(path).status_code for path in ("/access", "/api/v1/access-log")] == [200, 200]


@pytest.mark.parametrize("role", ["viewer", "investigator", "admin"])
def test_nobody_else_sees_it(refund: World, role: str) -> None:
    other = person(refund.project, "vera", role)
    for address in ("/access", "/access.csv", "/access.json"):
        assert other.get(address).status_code == 403
    answer = other.get("/api/v1/access-log")  # who is logged in reads the API, too
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing")
    assert 'href="/access"' not in text(other.get("/"))


def test_without_a_record_of_looking_at_it_nothing_is_shown(refund: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from auditlog.errors import Problem
    from auditlog.web import access as rights

    def refuse(*_: Any, **__: Any) -> None:
        raise Problem("store_unavailable", "no")

    carla = person(refund.project, "carla", "compliance")
    carla.get("/access")
    refund.bench.derive()
    monkeypatch.setattr(rights, "record", refuse)
    answer = carla.get("/access")
    assert answer.status_code == 503 and "looked at this list" not in text(answer)


def test_it_asks_as_often_for_many_rows_as_for_few(refund: World) -> None:
    carla = person(refund.project, "carla", "compliance")
    carla.get("/access")
    refund.bench.derive()
    with asked() as few:
        carla.get("/access")
    for n in range(30):
        refund.bench.send([governance.event(Actor("person", "1", "ada"), "session.view", {"session": str(n)}, datetime.now(UTC))])
    refund.bench.derive()
    with asked() as many:
        carla.get("/access")
    assert len(many) == len(few)
