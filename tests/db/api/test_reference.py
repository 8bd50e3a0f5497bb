"""Owns that the description of the read API, its page and `docs/reference/api.md` say what the code does."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import jsonschema
import pytest
from django.test import Client
from drf_spectacular.validation import validate_schema

from auditlog import conf, models
from auditlog.api.schema import document
from auditlog.errors import CODES
from tests.db.api.conftest import Api, World
from tests.db.api.test_addresses import (
    ADMIN,
    API,
    CLASSES,
    COMMON,
    EXPORT,
    NO_SUCH_PATH,
    patterns,
    some_erasure,
    some_hold,
    some_reclassification,
)
from tests.db.api.test_filters import SESSION, calls

PAGE = (conf.ROOT / "docs" / "reference" / "api.md").read_text()


def described() -> dict[str, dict[str, str]]:
    """Path to parameter to sentence, as the schema has them."""
    return {
        path: {p["name"]: p["description"] for p in methods["get"].get("parameters", []) if p["in"] != "header"}
        for path, methods in document()["paths"].items()
    }


def test_the_description_is_valid_openapi_of_every_address(db: None) -> None:
    check: Any = validate_schema  # it has no types
    check(document())
    assert document()["openapi"].startswith("3.1")
    routes = {
        "/" + re.sub(r"<str:(\w+)>", r"{\1}", route) for route, p in patterns() if CLASSES.get(p.name or "") in (API, COMMON, EXPORT, ADMIN)
    }
    assert routes == set(document()["paths"]) and NO_SUCH_PATH not in document()["paths"]
    for path, methods in document()["paths"].items():
        for parameter in methods["get"].get("parameters", []):
            assert parameter["description"].endswith("."), (path, parameter["name"])


def test_the_reference_names_every_path_and_parameter_and_no_other() -> None:
    sections = re.split(r"^## `GET ([^`]+)`.*$", PAGE, flags=re.M)
    said = {
        path: dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", text, re.M)) for path, text in zip(sections[1::2], sections[2::2], strict=True)
    }
    assert {path: set(names) for path, names in said.items()} == {path: set(names) for path, names in described().items()}
    for path, names in described().items():
        for name, sentence in names.items():
            assert said[path][name].startswith(sentence), (path, name)


def test_the_reference_explains_errors_that_exist() -> None:
    (table,) = re.findall(r"^\| code \| HTTP \| when \|\n(.+?)\n\n", PAGE, re.M | re.S)
    for codes, status in re.findall(r"^\| (.+?) \| (\d+) \|", table, re.M):
        for code in re.findall(r"`(\w+)`", codes):
            assert CODES[code].http == int(status), code


def test_the_page_shows_every_path_and_parameter_without_a_script_of_its_own(refund: World, operator: Client) -> None:
    answer = operator.get("/api/v1/docs")
    page = unescape(answer.content.decode())
    for path, names in described().items():
        section = page[page.index(f"<h2><code>GET {path}</code></h2>") :].partition("</section>")[0]
        assert set(re.findall(r"<tr><td><code>(\w+)</code>", section)) == set(names), path
    assert "unsafe" not in answer["Content-Security-Policy"] and "style=" not in page
    assert re.findall(r"<script(?![^>]*nonce=)", page) == [] and "cdn" not in page
    assert Api(refund.read_key).get("docs").status_code == 200


def test_every_answer_has_the_shape_that_the_description_gives(refund: World) -> None:
    refund.bench.send(calls(2))
    refund.bench.derive()
    key = refund.key_of(SESSION)
    event = refund.api.json("events", session=key)["results"][0]["id"]
    hold, erasure = str(some_hold(refund.project.pk)), str(some_erasure(refund.project.pk))
    longer = str(some_reclassification(refund.project.pk))
    refund.bench.derive()
    admin = Api(models.ApiKey.issue(refund.project, "admin", ["read", "admin"])[1])
    for path, methods in document()["paths"].items():
        shape = methods["get"]["responses"]["200"]["content"].get("application/json", {}).get("schema")
        if shape is not None and not path.startswith("/api/v1/exports"):  # for another key: tests/db/disclosure
            address = (
                path.removeprefix("/api/v1/")
                .replace("{key}", key)
                .replace("{public_id}", event)
                .replace("{hold}", hold)
                .replace("{erasure}", erasure)
                .replace("{reclassification}", longer)
                .replace("{class_no}", "1")
            )
            jsonschema.validate((admin if address.startswith("erasures") else refund.api).json(address), shape)


@pytest.mark.parametrize(
    ("path", "key", "status"), [("sessions/nope", "read", 404), ("sessions?x=1", "read", 400), ("sessions", None, 401)]
)
def test_every_error_has_the_one_shape(world: World, path: str, key: str | None, status: int) -> None:
    answer: Any = Api(world.read_key if key else None).get(path)
    assert answer.status_code == status
    jsonschema.validate(answer.json(), document()["components"]["schemas"]["Error"])
