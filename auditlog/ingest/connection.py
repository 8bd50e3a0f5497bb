"""Owns the connection that transports write through: as the ingest role, with limits shorter than a sender's patience."""

from __future__ import annotations

from typing import Any

import psycopg

from auditlog.store.connect import connect


def writer_connection() -> psycopg.Connection[Any]:
    """A connection for a Writer whose statements end before the sender gives up."""
    connection = connect("ingest", tcp_user_timeout=8000)
    connection.execute(
        "SELECT set_config('statement_timeout', '7s', false), set_config('lock_timeout', '5s', false), "
        "set_config('idle_in_transaction_session_timeout', '30s', false)"
    )
    connection.commit()
    return connection
