"""Owns what tests of API and pages stand on: two projects with keys, a captured refund that was derived, and a person."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from auditlog import governance, models
from auditlog.platform.first_run import OPERATOR
from auditlog.seal.sealer import Sealer
from auditlog.secrets import new_project_secret, wrap
from auditlog.store import server
from auditlog.store.connect import connect
from auditlog.store.writer import Project
from tests import corpus
from tests.db.derived import Bench, owner
from tests.emptying import empty

__all__ = ["owner"]
PASSWORD = "correct horse battery staple"
REFUND = "openinference/chat_refund"
PEOPLE = (  # and projects, with all that refers to them
    *("pin", "saved_search", "member_group", "member", "auth_user_groups", "auth_user_user_permissions", "auth_user", "login_failure"),
    *("api_key", "project"),
)


class Api:
    """A caller with a key."""

    def __init__(self, key: str | None) -> None:
        self.client = Client()
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def get(self, path: str, **parameters: Any) -> Any:
        return self.client.get(f"/api/v1/{path}", parameters, headers=self.headers)

    def json(self, path: str, **parameters: Any) -> Any:
        answer = self.get(path, **parameters)
        assert answer.status_code == 200, answer.content
        return json.loads(answer.content)


class World:
    """The cast: a project with a read and an ingest key, its evidence, and another project that must see nothing of it."""

    def __init__(self, owner: psycopg.Connection[Any]) -> None:
        secret = new_project_secret()
        self.project = models.Project.objects.create(name="One", slug="one", secret_wrapped=wrap(secret))
        self.other = models.Project.objects.create(name="Two", slug="two", secret_wrapped=wrap(new_project_secret()))
        self.bench = Bench(owner, Project(self.project.pk, secret, 1, "month"))
        self.read_key = models.ApiKey.issue(self.project, "read", ["read"])[1]
        self.ingest_key = models.ApiKey.issue(self.project, "ingest", ["ingest"])[1]
        self.other_key = models.ApiKey.issue(self.other, "read", ["read"])[1]
        self.api = Api(self.read_key)
        self.key_file = Path(tempfile.mkdtemp(prefix="auditlog-log-")) / "log.key"

    def seal(self) -> None:
        """As the sealer does within a second."""
        with connect("sealer", autocommit=True) as conn:
            sealer = Sealer(conn, self.key_file)
            sealer.drain()
            sealer.release()

    def load(self, *names: str) -> None:
        for name in names:
            self.bench.send(corpus.items(name))
        self.bench.derive()

    def key_of(self, session_id: str) -> str:
        (found,) = self.api.json("sessions", session_id=session_id)["results"]
        return str(found["key"])

    def only_key(self) -> str:
        (found,) = self.api.json("sessions")["results"]
        return str(found["key"])


@pytest.fixture
def db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """In place of pytest-django's: no transaction around a test, because an open one holds back what the pass may read."""
    with django_db_blocker.unblock():
        server.standing.remembered = 3600  # else a page that happens to come then asks, perhaps one whose queries are counted
        server.standing.dangers()
        yield
        connection.close()
        governance.close()


@pytest.fixture
def world(db: None, owner: psycopg.Connection[Any]) -> Iterator[World]:
    empty(owner, "hold", "agent_flag", "clock_event", "reclassified", "retention_rules", *PEOPLE)
    made = World(owner)
    yield made
    made.bench.close()
    shutil.rmtree(made.key_file.parent)


@pytest.fixture
def refund(world: World) -> World:
    world.load(REFUND)
    world.seal()
    return world


def person(project: models.Project, name: str, *roles: str) -> Client:
    """Somebody with these roles in this project, logged in."""
    models.Member.join(User.objects.create_user(name, password=PASSWORD), project, roles)
    client = Client()
    assert client.login(username=name, password=PASSWORD)
    return client


@pytest.fixture
def operator(world: World) -> Client:
    """As the first start makes one."""
    return person(world.project, "operator", *OPERATOR)
