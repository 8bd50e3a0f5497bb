"""Owns who reads `/metrics`, and that whoever may goes on reading for a while when the database cannot be asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from auditlog.api import metrics
from auditlog.api.authentication import KeyAuthentication
from auditlog.models import ApiKey
from tests.db.api.conftest import World


def asked(key: str | None) -> tuple[int, str]:
    answer = Client().get("/metrics", headers={} if key is None else {"Authorization": f"Bearer {key}"})
    assert answer.status_code != 200 or answer["Cache-Control"] == "no-store"
    return answer.status_code, "" if answer.status_code == 200 else json.loads(answer.content)["error"]["code"]


@pytest.fixture
def key(world: World) -> str:
    metrics.ScraperAuthentication.good.clear()
    return ApiKey.issue(world.project, "scraper", ["admin"])[1]


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Any:
    def go() -> None:
        def refuse(*_: object) -> None:
            raise OperationalError

        monkeypatch.setattr(KeyAuthentication, "authenticate", refuse)

    return go


def test_only_a_key_of_the_scope_admin_reads_metrics(world: World, key: str) -> None:
    assert asked(key) == (200, "")
    assert asked(world.read_key) == (403, "scope_missing")
    assert asked(None) == (401, "key_missing")


def test_a_key_that_was_good_reads_on_while_the_database_is_away_and_no_other(world: World, key: str, away: Any) -> None:
    assert asked(key)[0] == 200 and asked(world.read_key)[0] == 403
    away()
    assert asked(key) == (200, "")
    assert asked(world.read_key) == (403, "scope_missing")
    other = key[:-1] + ("y" if key.endswith("x") else "x")  # keys are random: one in sixty ends in it
    assert asked(other) == (503, "store_unavailable")


def test_after_a_while_it_does_not(key: str, away: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "GOOD_FOR", -1.0)
    assert asked(key)[0] == 200
    away()
    assert asked(key) == (503, "store_unavailable")


def test_a_key_that_was_revoked_is_forgotten(key: str, away: Any) -> None:
    assert asked(key)[0] == 200
    ApiKey.objects.update(revoked_at=timezone.now())
    assert asked(key) == (401, "key_revoked")
    away()
    assert asked(key) == (503, "store_unavailable")
