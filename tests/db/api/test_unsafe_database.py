"""Owns that pages, readiness and the status say which settings of the database lose data, and whether ingest stores all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from auditlog.platform import health
from auditlog.store import server
from tests.db.api.conftest import World
from tests.db.store.test_server_settings import SET, Admin

FIX = "ALTER SYSTEM SET fsync = &#x27;on&#x27;; SELECT pg_reload_conf();"
PAGES = ("/", "/agents", "/quarantine", "/settings", "/nowhere")


@pytest.fixture
def admin(world: World) -> Iterator[Admin]:
    admin = Admin()
    admin.run(SET["E001"])
    server.standing.forget()
    yield admin
    admin.close()
    server.standing.forget()


def text(client: Client, path: str) -> str:
    return client.get(path, follow=True).content.decode()


def test_every_page_says_what_is_lost_and_what_to_run_but_to_no_stranger(
    refund: World, operator: Client, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in PAGES:
        page = text(operator, path)
        assert "Nothing is stored now." in page and "auditlog.E001" in page and FIX in page, path
    monkeypatch.setenv("AUDITLOG_UNSAFE_DATABASE", "1")
    for path in PAGES:
        page = text(operator, path)
        assert "What is stored now may be lost." in page and "AUDITLOG_UNSAFE_DATABASE" in page and FIX in page, path
    monkeypatch.delenv("AUDITLOG_UNSAFE_DATABASE")
    assert "auditlog.E001" not in text(Client(), "/")
    before = refund.bench.rows("SELECT count(*) FROM event WHERE item = 4")
    assert operator.get(f"/sessions/{refund.only_key()}").status_code == 200  # evidence can be looked at, and that is recorded
    assert refund.bench.rows("SELECT count(*) FROM event WHERE item = 4") > before
    admin.run("ALTER SYSTEM RESET fsync")
    server.standing.forget()
    assert 'class="danger"' not in text(operator, "/")


def answer(client: Client, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(health, "_accepts", lambda name: "ok")  # no receivers here
    found = client.get("/readyz")
    return found.status_code, json.loads(found.content)


def test_the_service_is_not_ready_until_it_is_mended_or_allowed(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    status, told = answer(Client(), monkeypatch)
    assert status == 503 and told["checks"]["database_settings"].startswith("auditlog.E001 fsync is off")
    monkeypatch.setenv("AUDITLOG_UNSAFE_DATABASE", "1")
    status, told = answer(Client(), monkeypatch)
    assert (status, told["unsafe_settings"]) == (200, ["auditlog.E001"])
    admin.run("ALTER SYSTEM RESET fsync")
    server.standing.forget()
    monkeypatch.delenv("AUDITLOG_UNSAFE_DATABASE")
    status, told = answer(Client(), monkeypatch)
    assert status == 200 and "unsafe_settings" not in told and told["checks"]["database_settings"] == "ok"


def test_the_status_lists_the_numbers_as_they_were_known_a_moment_ago(world: World, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    def listed() -> Any:
        return world.api.json("status")["unsafe_settings"]

    assert listed() == ["auditlog.E001"]
    admin.run("ALTER SYSTEM RESET fsync")
    assert listed() == ["auditlog.E001"]  # asked only every few seconds
    server.standing.forget()
    with monkeypatch.context() as away:
        away.setenv("AUDITLOG_INGEST_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")
        assert listed() == ["auditlog.E001"]  # nobody answered: what was known stays
    server.standing.forget()
    assert listed() == []
