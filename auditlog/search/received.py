"""Owns whether anything was received for a project at all, be it read or not: what an empty list says depends on it."""

from __future__ import annotations

from typing import Final, LiteralString

from django.db import connection

from auditlog.search.scope import Scope

# What the service itself records (protocol 5) was not received.
_ANY: Final[LiteralString] = "SELECT EXISTS (SELECT FROM batch WHERE project_id = %s AND protocol <> 5)"


def anything(scope: Scope) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_ANY, [scope.project_id])
        row = cursor.fetchone()
    return bool(row and row[0])
