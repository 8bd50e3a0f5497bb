"""Owns the checks of legal holds over the API: who may place and release them, and what a wrong request is told."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from auditlog import models
from auditlog.api.schema import document
from tests.db.api.conftest import Api, World
from tests.db.api.test_addresses import SESSION


class Admin(Api):
    """A key that may place and release."""

    def __init__(self, world: World) -> None:
        super().__init__(models.ApiKey.issue(world.project, "admin", ["read", "admin"])[1])

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.client.post(f"/api/v1/{path}", sent, content_type="application/json", headers=self.headers)
        return answer.status_code, json.loads(answer.content)


GOOD = {"name": "Case 7", "reason": "Subpoena", "scope": {"session_id": SESSION}}


def test_a_hold_is_placed_listed_and_released_by_a_key_for_it(refund: World) -> None:
    admin = Admin(refund)
    status, made = admin.post("holds", GOOD)
    assert (status, made["sessions"], made["more_sessions"], made["placed_by"], made["released_at"]) == (200, 1, False, "admin", None)
    shape = document()["paths"]["/api/v1/holds"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(made, shape)
    _, other = admin.post("holds", GOOD | {"name": "Case 8"})
    first = refund.api.json("holds", limit=1)
    assert [row["id"] for row in first["results"]] == [other["id"]]
    following = json.loads(admin.client.get(first["next"], headers=admin.headers).content)
    assert [row["id"] for row in following["results"]] == [made["id"]]
    status, released = admin.post(f"holds/{made['id']}", {"release_reason": "Settled"})
    assert status == 200 and released["release_reason"] == "Settled" and released["sessions"] == 0
    assert admin.post(f"holds/{made['id']}", {"release_reason": "Again"})[1]["error"]["code"] == "state_conflict"
    assert refund.api.json(f"holds/{other['id']}")["sessions"] == 1


def test_a_key_that_only_reads_places_and_releases_nothing(refund: World) -> None:
    admin = Admin(refund)
    made = admin.post("holds", GOOD)[1]
    admin.headers = refund.api.headers
    for path, body in (("holds", GOOD), (f"holds/{made['id']}", {"release_reason": "x"})):
        status, answer = admin.post(path, body)
        assert (status, answer["error"]["code"]) == (403, "scope_missing")
    admin.headers = {"Authorization": f"Bearer {models.ApiKey.issue(refund.project, 'no read', ['admin'])[1]}"}
    assert admin.post("holds", GOOD)[1]["error"]["code"] == "scope_missing"
    assert len(refund.api.json("holds")["results"]) == 1


def test_a_hold_of_another_project_cannot_be_released(refund: World) -> None:
    made = Admin(refund).post("holds", GOOD)[1]
    foreign = Admin(refund)
    foreign.headers = {"Authorization": f"Bearer {models.ApiKey.issue(refund.other, 'admin', ['read', 'admin'])[1]}"}
    assert foreign.post(f"holds/{made['id']}", {"release_reason": "x"})[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("holds", GOOD | {"scope": {}}, 400, "scope_empty"),
        ("holds", GOOD | {"scope": {"client": "x"}}, 400, "parameter_invalid"),
        ("holds", GOOD | {"reason": " "}, 400, "parameter_invalid"),
        ("holds", GOOD | {"project": 1}, 400, "parameter_invalid"),
        ("holds", b"{", 400, "parameter_invalid"),
        ("holds", b'{"name": "\xff"}', 400, "parameter_invalid"),
        ("holds?limit=1", GOOD, 400, "parameter_invalid"),
        ("holds/99999999999999999999", {"release_reason": "x"}, 404, "not_found"),
        ("holds/x", {"release_reason": "x"}, 404, "not_found"),
        ("sessions", GOOD, 405, "method_not_allowed"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(refund: World, path: str, body: Any, status: int, code: str) -> None:
    answer = Admin(refund).post(path, body)
    assert (answer[0], answer[1]["error"]["code"]) == (status, code) and refund.api.json("holds")["results"] == []
