"""Owns `manage.py setup`: brings a database to this version and, where it is new, makes the first operator, project and keys."""

from __future__ import annotations

import logging
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection

from auditlog import conf
from auditlog.platform import first_run, rights

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Migrates, sets up roles, partitions, and on a new database the first operator, project and API keys. May be repeated."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        # One at a time, over all machines; a session's lock goes with the session, however it ends.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(7208)")
        call_command("migrate", interactive=False, verbosity=options["verbosity"])
        logins = rights.logins()
        first = first_run.ensure()
        first_run.refresh_urls(conf.get("AUDITLOG_DATA"))
        first_run.open_buckets()
        logger.info("setup.done", extra={"first": first, "logins": logins})
