"""Owns what tests stand on: a real PostgreSQL, a data folder of their own, and no socket that leaves this machine.

PostgreSQL is the one of AUDITLOG_TEST_DATABASE_URL, else of DATABASE_URL, else an embedded one for this run.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import django
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

pytest_plugins = ["tests.conformance"]

_DATA = Path(tempfile.mkdtemp(prefix="auditlog-test-"))
_DATABASE = f"test_auditlog_{os.getpid()}"


def _prepare() -> None:
    """Before Django reads its settings: an empty data folder, and a database of this run that does not exist yet."""
    given = os.environ.get("AUDITLOG_TEST_DATABASE_URL") or os.environ.get("DATABASE_URL")
    for name in [name for name in os.environ if name.startswith(("AUDITLOG_", "OTEL_"))]:
        del os.environ[name]  # what is set in the developer's shell must not decide what a test sees
    os.environ["AUDITLOG_DATA"] = str(_DATA)
    os.environ["AUDITLOG_DATABASE_ROLE"] = "owner"
    _DATA.chmod(0o711)  # as root, PostgreSQL runs as a user who must pass
    atexit.register(shutil.rmtree, _DATA, ignore_errors=True)
    if not given:
        from auditlog.platform.embedded import Embedded

        server = Embedded(_DATA)
        server.start()
        atexit.register(server.stop)
        given = server.url
    parts = conninfo_to_dict(given)
    os.environ["DATABASE_URL"] = make_conninfo(given, dbname=_DATABASE)
    with psycopg.connect(given, dbname=parts.get("dbname") or "postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")
    atexit.register(_drop, given)


def _drop(given: str) -> None:
    with psycopg.connect(given, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")


_prepare()
os.environ["DJANGO_SETTINGS_MODULE"] = "auditlog.settings"  # here and not in pyproject.toml, which is read before this file
django.setup()


def _hash_cheaply() -> None:
    """Passwords of people that tests invent: Argon2 takes a third of a second of these machines, twice for each who logs in.

    What the product uses is asserted in tests/unit/test_settings.py, and used by every service that tests start.
    """
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


_hash_cheaply()


def _collect() -> None:
    """The files that pages load, as the first web process makes them; a page that names one that does not exist fails its test."""
    from auditlog.platform import statics

    statics.Hashed.lenient = False
    statics.collect()


_collect()


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """The database's name is final: raw connections (auditlog.store.connect) and Django must mean the same one."""
    from django.conf import settings
    from django.db import connections

    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = _DATABASE
    connections["default"].settings_dict["TEST"]["NAME"] = _DATABASE


@pytest.fixture(scope="session", autouse=True)
def only_loopback() -> None:
    """A test that asks the internet is a test of the internet."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test tried to reach {address[0]}; only loopback is allowed")
        connect(self, address)

    socket.socket.connect = guarded  # type: ignore[method-assign, assignment]
