"""Owns what tests of exports as jobs stand on: the refund of the pages' tests, sealed, and a folder for exports of each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from auditlog import tasks
from auditlog.disclosure import exports
from auditlog.disclosure.exports import Export, Wanted
from auditlog.disclosure.scope import Asked
from auditlog.governance import Actor
from auditlog.search import evidence
from tests.db.api.conftest import World, db, refund, world
from tests.db.derived import owner
from tests.emptying import empty

__all__ = ["db", "owner", "refund", "world"]

CARLA = Actor("person", "1", "carla")


@pytest.fixture(autouse=True)
def hints(owner: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Exports lie in the test's folder; what a broker would be told is listed."""
    sent: list[int] = []
    empty(owner, "export_release", "export_job")
    monkeypatch.setenv("AUDITLOG_EXPORTS", str(tmp_path / "exports"))
    monkeypatch.setattr(tasks.run_export, "delay", sent.append)
    yield sent


def ask(world: World, asked: Asked | None = None, **more: object) -> Export:
    wanted = Wanted(asked or Asked(everything=True), **({"recipient": "A. Lawyer", "purpose": "Case 7"} | more))  # type: ignore[arg-type]
    return exports.request(evidence.raw_connection(), CARLA, world.project.pk, wanted)


def now(job: Export) -> Export:
    return exports.get(evidence.raw_connection(), job.project_id, job.id)
