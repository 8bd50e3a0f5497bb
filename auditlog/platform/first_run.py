"""Owns the first start: the first operator, project and keys, and `first-run.json`, the one place that shows their secrets."""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from django.contrib.auth import get_user_model
from django.db import connection, transaction

from auditlog import conf, keys
from auditlog.models import ApiKey, Member, Project
from auditlog.secrets import new_project_secret, private_file, wrap
from auditlog.store import kept, partitions

FILE: Final = "first-run.json"
DEMO_WANTED: Final = "demo-wanted"
USERNAME: Final = "operator"
PROJECT: Final = "default"
OPERATOR: Final = ("admin", "investigator", "compliance")  # roles of the first operator (auditlog.web.access)


def address(name: str) -> str:
    """The URL under which a listening address is reached from this machine."""
    host, port = conf.get(name)
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def urls() -> dict[str, str]:
    return {"url": address("AUDITLOG_HTTP"), "otlp_http": address("AUDITLOG_OTLP_HTTP"), "otlp_grpc": address("AUDITLOG_OTLP_GRPC")}


def read(folder: Path) -> dict[str, str] | None:
    try:
        return cast(dict[str, str], json.loads((folder / FILE).read_bytes()))
    except FileNotFoundError:
        return None


def _known(facts: dict[str, str]) -> bool:
    return ApiKey.objects.filter(secret_digest=keys.digest(facts.get("ingest_key", ""))).exists()


def ensure() -> bool:
    """Makes what a database without any project needs; True if it did. Two starts at once: one makes, one finds."""
    folder = conf.get("AUDITLOG_DATA")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(7207)")
        draft = folder / f".{FILE}.draft"
        if Project.objects.exists():
            # Killed between COMMIT and rename: the draft's keys are in the database, so it is what the file should be.
            if draft.exists() and _known(json.loads(draft.read_bytes())):
                draft.replace(folder / FILE)
            return False
        draft.unlink(missing_ok=True)
        facts = _make()
        # Before COMMIT: the passwords exist nowhere else. A draft without its COMMIT is overwritten by the next start.
        private_file(draft, (json.dumps(facts, indent=2) + "\n").encode())
        if conf.get("AUDITLOG_DEMO"):
            private_file(folder / DEMO_WANTED, b"")
    draft.replace(folder / FILE)
    return True


def _make() -> dict[str, str]:
    password = secrets.token_urlsafe(18)
    operator = get_user_model().objects.create_superuser(username=USERNAME, password=password)
    project = Project.objects.create(name="Default", slug=PROJECT, secret_wrapped=wrap(new_project_secret()))
    Member.join(operator, project, OPERATOR)
    _, ingest_key = ApiKey.issue(project, "first ingest key", ["ingest"])
    _, read_key = ApiKey.issue(project, "first read key", ["read"])
    return urls() | {
        "username": USERNAME,
        "password": password,
        "project": project.slug,
        "ingest_key": ingest_key,
        "read_key": read_key,
    }


def refresh_urls(folder: Path) -> None:
    """The file keeps its secrets; its addresses follow the settings of this start."""
    facts = read(folder)
    if facts is None or all(facts.get(name) == value for name, value in urls().items()):
        return
    draft = folder / f".{FILE}.{os.getpid()}"
    private_file(draft, (json.dumps(facts | urls(), indent=2) + "\n").encode())
    draft.replace(folder / FILE)


def open_buckets() -> list[int]:
    """The current and the next periods' partitions of every class in use, so that the first request finds them."""
    connection.ensure_connection()
    raw: Any = connection.connection
    made: list[int] = []
    used = raw.execute(f"SELECT DISTINCT u.class_no, p.period FROM {kept.USED} u JOIN project p ON p.id = u.project_id ORDER BY 1, 2")
    for class_no, period in used.fetchall():
        made += partitions.ensure_ahead(raw, class_no, period, datetime.now(UTC))
    return made
