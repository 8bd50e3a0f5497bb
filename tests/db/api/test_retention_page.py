"""Owns the checks of `/retention`: holds are placed and released by who may, what is wrong is said, and nothing is deleted from a page."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from auditlog.retention import holds
from tests.db.api.conftest import World, person
from tests.db.api.test_access import SESSION, recorded, text


def standing(world: World) -> list[tuple[str, dict[str, str]]]:
    return [(hold.name, hold.scope) for hold in holds.standing(world.bench.owner, world.project.pk)]


FORM: dict[str, Any] = {"name": "Case <7>", "reason": "Subpoena", "session_id": SESSION}


def test_a_hold_is_placed_and_released_with_reasons_and_both_are_recorded(refund: World) -> None:
    carla = person(refund.project, "carla", "compliance")
    assert "No hold stands" in text(carla.get("/retention"))
    assert carla.post("/retention", FORM).status_code == 302 and standing(refund) == [("Case <7>", {"session_id": SESSION})]
    page = text(carla.get("/retention"))
    assert "Case &lt;7&gt;" in page and f"Session <b><bdi>{SESSION}</bdi></b>" in page
    (hold,) = holds.standing(refund.bench.owner)
    for fields, words in (({"word": "release"}, "This field is required"), ({"word": "yes", "reason": "x"}, "Type the word")):
        assert words in text(carla.post(f"/retention/holds/{hold.id}/release", fields, follow=True)) and standing(refund)
    carla.post(f"/retention/holds/{hold.id}/release", {"word": "release", "reason": "Settled"})
    assert standing(refund) == [] and "Settled" in text(carla.get("/retention"))
    assert [event["action"] for event in recorded(refund)][-2:] == ["hold.place", "hold.release"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"session_id": ""}, "give at least one filter"),
        ({"reason": ""}, "This field is required"),
        ({"from": "yesterday"}, "is no time"),
        ({"q": "duplicate"}, "your role may not read"),
    ],
)
def test_what_is_wrong_with_a_hold_is_said_and_nothing_is_placed(refund: World, changed: dict[str, str], words: str) -> None:
    carla = person(refund.project, "carla", "compliance")
    answer = carla.post("/retention", FORM | changed)
    assert answer.status_code == 400 and words in text(answer) and standing(refund) == []
    assert "Subpoena" in text(answer) or not changed.get("reason", "x")  # what was typed is still there


@pytest.mark.parametrize("role", ["viewer", "investigator", "admin", "examiner"])
def test_nobody_else_sees_or_changes_it(refund: World, role: str) -> None:
    other = person(refund.project, "vera", role)
    assert other.get("/retention").status_code == 403 and other.post("/retention", FORM).status_code == 403
    assert standing(refund) == [] and 'href="/retention"' not in text(other.get("/"))


def test_whoever_may_finds_it_from_every_page(refund: World, operator: Client) -> None:
    assert 'href="/retention"' in text(operator.get("/")) and operator.get("/retention").status_code == 200


def test_a_hold_of_another_project_is_not_there(refund: World) -> None:
    person(refund.project, "carla", "compliance").post("/retention", FORM)
    (hold,) = holds.standing(refund.bench.owner)
    other = person(refund.other, "otto", "compliance")
    assert "Case" not in text(other.get("/retention")).split("Place a hold")[0]
    assert other.post(f"/retention/holds/{hold.id}/release", {"word": "release", "reason": "x"}).status_code == 404 and standing(refund)


def test_the_page_says_when_each_period_is_due_and_how_it_would_go(refund: World) -> None:
    page = text(person(refund.project, "carla", "compliance").get("/retention?customer_id=ACME-2024"))
    assert "1 <b>Seven years</b>, version 1" in page and "in force" in page and "manage.py dispose --dry-run" in page
    assert 'value="ACME-2024"' in page
