"""Owns `GET /healthz` (this process lives) and `GET /readyz` (the whole service takes data and answers questions)."""

from __future__ import annotations

import socket
from functools import lru_cache

from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.utils import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from auditlog import conf
from auditlog.store import server


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "alive"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    checks = {
        "database": _database(),
        "database_settings": _settings(),
        "otlp_http": _accepts("AUDITLOG_OTLP_HTTP"),
        "otlp_grpc": _accepts("AUDITLOG_OTLP_GRPC"),
    }
    ready = all(answer == "ok" for answer in checks.values())
    answer: dict[str, object] = {"status": "ready" if ready else "not ready", "checks": checks}
    if ready and (dangers := server.standing.dangers()):
        answer["unsafe_settings"] = [one.id for one in dangers]  # as AUDITLOG_UNSAFE_DATABASE allows
    return JsonResponse(answer, status=200 if ready else 503)


@lru_cache(maxsize=1)
def _known_migrations() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).disk_migrations or {})


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT app, name FROM django_migrations")
            missing = _known_migrations() - set(cursor.fetchall())
    except DatabaseError as error:
        return f"not reachable: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
    return f"{len(missing)} migrations are not applied; run `manage.py setup`" if missing else "ok"


def _settings() -> str:
    dangers = () if server.allowed() else server.standing.dangers()
    return "; ".join(f"{one.id} {one.message}" for one in dangers) or "ok"


def _accepts(name: str) -> str:
    """A listening socket proves that the process is up; a health RPC on every probe would cost more than it tells."""
    host, port = conf.get(name)
    try:
        socket.create_connection(("127.0.0.1" if host in ("0.0.0.0", "::") else host, port), timeout=1).close()
    except OSError as error:
        return f"{host}:{port} does not accept connections ({error.strerror or error})"
    return "ok"
