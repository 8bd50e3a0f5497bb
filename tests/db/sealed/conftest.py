"""Owns what tests of exports and verification stand on: captured and made events, sealed in two rounds, one with an erased field."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from auditlog.export.choice import Wish
from auditlog.export.folder import Exported, export
from auditlog.export.forms.sessions import Renderer
from auditlog.governance import Actor
from auditlog.governance import event as governance_event
from auditlog.ingest.rest import event as rest_event
from auditlog.item import SPAN, Item, Unreadable
from auditlog.retention.erasure import erase_field
from auditlog.secrets import wrap
from auditlog.store import fields
from auditlog.store.connect import connect
from auditlog.store.reader import Reader, Stored
from auditlog.store.writer import Project, Writer, Written
from tests import corpus
from tests.db.derived import empty
from tests.sealing import Sealer

HOSTILE = '=HYPERLINK("http://example.org", "<script>")\u202e'
CASES = ("openinference/chat_refund", *corpus.names()[::16])


@dataclass
class Stood:
    """The database as it was sealed."""

    owner: psycopg.Connection[Any]
    project: Project
    writer: Writer
    sealer: Sealer
    written: list[Written] = field(default_factory=list)
    erased: str = ""  # an event whose input was erased

    def secret(self, _: int) -> bytes:
        return self.project.secret

    def send(self, items: list[Item]) -> Written:
        written = self.writer.write(self.project, items, key_id=None, protocol=1, received_at=datetime.now(UTC))
        self.written.append(written)
        return written

    def events(self, number: int) -> list[Stored]:
        return Reader(self.owner, self.secret).events_of_batches([self.written[number].batch_no])

    def export(self, folder: Path, render: Renderer | None = None, **wish: Any) -> Exported:
        wanted: dict[str, Any] = {"project_id": self.project.project_id, "project": "One", "recipient": "A. Lawyer", "purpose": "7"} | wish
        with connect("web", autocommit=True) as conn:
            return export(conn, self.secret, Wish(**wanted), folder, render=render)


def conversation(length: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"{n} " + "long enough to be content of its own " * 8} for n in range(length)]
    return {"kind": "model_call", "session_id": "talk", "at": "2026-03-01T10:00:00.123456Z", "input": messages, "system": "ä" * 300}


def hostile() -> list[dict[str, Any]]:
    said = [{"role": "user", "content": "<script>alert(1)</script> a secret that is in this event alone"}]
    return [{"kind": "model_call", "session_id": HOSTILE, "at": "2026-03-01T11:00:00Z", "input": said}]


def build(stood: Stood) -> None:
    for name in CASES[: len(CASES) // 2]:
        stood.send(corpus.items(name))
    stood.sealer.seal()
    for name in CASES[len(CASES) // 2 :]:
        stood.send(corpus.items(name))
    stood.send([rest_event(json.dumps(conversation(n)).encode()) for n in (1, 30, 70)])  # older messages lie behind nodes
    stood.send([rest_event(json.dumps(one).encode()) for one in hostile()])
    stood.send([governance_event(Actor("person", "1", "Ada"), "session.view", {"session": "talk"}, datetime.now(UTC))])
    stood.send([Unreadable(SPAN, "protobuf", b"\xdc\x00\x10 no span \xff", "item_undecodable", "it is none")])
    stood.send(corpus.items(CASES[0]))  # all of them duplicates
    stood.sealer.rotate()
    stood.sealer.seal()
    stood.erased = stood.events(0)[0].id
    with stood.owner.transaction():
        erase_field(stood.owner, stood.project.project_id, stood.project.secret, stood.erased, fields.INPUT)


@pytest.fixture(scope="package")
def stood(django_db_setup: None) -> Iterator[Stood]:
    with connect("owner", autocommit=True) as owner:
        empty(owner)
        project = Project(secrets.randbelow(2**30), secrets.token_bytes(32), 1, "month")
        owner.execute(
            "INSERT INTO project (id, name, slug, secret_wrapped, class_no, period, created_at) "
            "VALUES (%s, 'Sealed', 'sealed', %s, 1, 'month', now())",
            (project.project_id, wrap(project.secret)),
        )
        made = Stood(owner, project, Writer(lambda: connect("ingest")), Sealer(owner))
        try:
            build(made)
            yield made
        finally:
            made.writer.close()
            empty(owner)
            owner.execute("DELETE FROM project WHERE id = %s", (project.project_id,))


@pytest.fixture(scope="package")
def folder(stood: Stood, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished export of everything. Nobody changes it: tests copy it."""
    target = tmp_path_factory.mktemp("export") / "all"
    stood.export(target)
    return target
