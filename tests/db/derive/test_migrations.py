"""Owns the checks of migrations that fill what is there: undone and done again among derived rows, in a transaction that is rolled back."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tests.db.derive.test_found import refund
from tests.db.derived import Bench

pytestmark = pytest.mark.django_db


def test_what_calls_say_is_dated_with_their_sessions_where_it_was_written_before(bench: Bench) -> None:
    bench.send(refund())
    bench.derive()
    for name in ("0013_saved_searches", "0014_began_at"):
        MigrationExecutor(connection).migrate([("auditlog", name)])
    with connection.cursor() as cursor:
        for table in ("action", "action_value", "action_amount"):
            cursor.execute(f"SELECT count(*) > 0, bool_and(t.began_at = s.sort_at) FROM {table} t JOIN session s ON s.key = t.session_key")
            assert cursor.fetchone() == (True, True), table
