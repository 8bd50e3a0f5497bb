"""Owns the checks of exports over the API: who may, the whole life of one, and what a wrong request is told."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import jsonschema

from auditlog import models
from auditlog.api.schema import document
from auditlog.disclosure import work
from tests.db.api.conftest import World
from tests.db.api.test_access import recorded
from tests.db.api.test_addresses import SESSION
from tests.db.api.test_holds import Admin

GOOD = {"scope": {"search": {"session_id": SESSION}}, "recipient": "A. Lawyer", "purpose": "Case 7"}


def exporting(world: World, project: models.Project | None = None) -> Admin:
    caller = Admin(world)
    caller.headers = {"Authorization": f"Bearer {models.ApiKey.issue(project or world.project, 'export', ['export'])[1]}"}
    return caller


def shape(path: str, method: str) -> Any:
    return document()["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]


def test_an_export_is_asked_for_written_downloaded_and_released_by_a_key_for_it(refund: World) -> None:
    api = exporting(refund)
    status, made = api.post("exports", GOOD)
    assert (status, made["state"], made["scope"], made["requested_by"]) == (200, "waiting", GOOD["scope"], "export"), made
    jsonschema.validate(made, shape("/api/v1/exports", "post"))
    for path in (f"exports/{made['id']}/download", f"exports/{made['id']}/releases"):
        given = {"recipient": "A", "purpose": "B", "description": "C"}
        refused = api.get(path) if path.endswith("load") else api.post(path, given)[1]
        assert (refused if isinstance(refused, dict) else json.loads(refused.content))["error"]["code"] == "state_conflict"
    assert api.post(f"exports/{made['id']}", {"do": "pause"})[1]["state"] == "paused"
    assert api.post(f"exports/{made['id']}", {"do": "resume"})[1]["state"] == "waiting"
    work.work(int(made["id"]))
    done = api.json(f"exports/{made['id']}")
    assert done["state"] == "done" and done["counts"]["events"] == done["progress"]["events"] > 3 and done["expires_at"]
    jsonschema.validate(done, shape("/api/v1/exports/{export}", "get"))
    answer = api.get(f"exports/{made['id']}/download")
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as found:
        assert f"auditlog-export-{made['id']}/verify.py" in found.namelist()
    status, released = api.post(f"exports/{made['id']}/releases", {"recipient": "A. Lawyer", "purpose": "7", "description": "A refund"})
    assert status == 200 and api.json(f"exports/{made['id']}/releases")["results"] == [released]
    jsonschema.validate(released, shape("/api/v1/exports/{export}/releases", "post"))
    _, other = api.post("exports", GOOD)
    first = api.json("exports", limit=1)
    assert [row["id"] for row in first["results"]] == [other["id"]]
    assert [row["id"] for row in json.loads(api.client.get(first["next"], headers=api.headers).content)["results"]] == [made["id"]]
    assert api.post(f"exports/{other['id']}", {"do": "cancel"})[1]["state"] == "cancelled"
    actions = [event["action"] for event in recorded(refund) if event["action"].startswith("export.")]
    assert actions == [f"export.{name}" for name in ("request", "pause", "resume", "download", "release", "request", "cancel")]


def test_other_keys_and_other_projects_get_nothing_and_wrong_requests_are_told_why(refund: World) -> None:
    api = exporting(refund)
    made = api.post("exports", GOOD)[1]
    paths = ("exports", *(f"exports/{made['id']}{rest}" for rest in ("", "/releases", "/download")))
    for path in paths:
        assert json.loads(refund.api.get(path).content)["error"]["code"] == "scope_missing"
    theirs = exporting(refund, refund.other)
    assert theirs.json("exports")["results"] == [] and all(theirs.get(path).status_code == 404 for path in paths[1:])
    assert theirs.post(paths[1], {"do": "cancel"})[0] == 404
    for body, code in (
        ({**GOOD, "scope": {}}, "scope_empty"),
        ({**GOOD, "scope": {"search": {"session_id": "nobody"}}}, "export_empty"),
        ({**GOOD, "recipient": " "}, "parameter_invalid"),
        ({**GOOD, "formats": ["carrier pigeon"]}, "parameter_invalid"),
        ({**GOOD, "colour": "red"}, "parameter_invalid"),
        ({**GOOD, "scope": {"everything": True, "colour": "red"}}, "parameter_invalid"),
        (b"{", "parameter_invalid"),
    ):
        assert api.post("exports", body)[1]["error"]["code"] == code, body
    assert api.post(paths[1], {"do": "explode"})[1]["error"]["code"] == "parameter_invalid"
    assert api.get("exports", cursor="x").status_code == 400 and api.get("exports/9z").status_code == 404
