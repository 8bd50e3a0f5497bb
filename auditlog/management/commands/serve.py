"""Owns `manage.py serve`: everything of the service in the foreground, from one terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError

from auditlog import conf
from auditlog.errors import Problem
from auditlog.platform import first_run, otlp_target, roster
from auditlog.platform.embedded import Embedded, PostgresError
from auditlog.platform.supervisor import Stop, Supervisor, say
from auditlog.store import durability, server


class Command(BaseCommand):
    help = "Starts PostgreSQL (unless DATABASE_URL is set) and every process of the service, and keeps them running. Ctrl-C stops all."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for name in conf.SETTINGS:
                conf.get(name)
            targets = otlp_target.wanted()
        except conf.SettingError as error:
            raise CommandError(str(error)) from error
        for target in targets:
            if target.is_here() or target.is_auditlog():
                say(otlp_target.refusal(target))
        if taken := roster.taken():
            raise CommandError("\n".join(taken))
        os.environ.pop("AUDITLOG_DATABASE_ROLE", None)  # ours; every child chooses its own
        folder: Path = conf.get("AUDITLOG_DATA")
        try:
            supervisor = Supervisor(None if conf.get("DATABASE_URL") else Embedded(folder), folder, roster.roles())
        except PostgresError as error:
            raise CommandError(str(error)) from error
        supervisor.listen()
        try:
            self._serve(supervisor, folder)
        except (Stop, PostgresError) as reason:
            supervisor.stop()
            if str(reason):
                raise CommandError(str(reason)) from None
            say("Stopped.")
        except BaseException:  # whatever it is, no process may be left behind
            supervisor.stop()
            raise

    def _serve(self, supervisor: Supervisor, folder: Path) -> None:
        supervisor.start_postgres()
        supervisor.command("setup")
        supervisor.start_members()
        facts = first_run.read(folder) or first_run.urls()
        say(_block(facts, folder))
        refused = say_dangers()
        if (wanted := folder / first_run.DEMO_WANTED).exists() and conf.get("AUDITLOG_DEMO") and not refused:
            supervisor.command("demo")
            wanted.unlink()
            say("The demo sessions are loaded.")
        supervisor.run()


def say_dangers() -> bool:
    """Says what PostgreSQL's settings lose, and whether ingest therefore stores nothing. Pages serve, and the next request sees a mend."""
    try:
        found = server.ask()
    except (psycopg.Error, Problem):
        return False  # has just gone away: the supervisor's next look is about that
    for one in found:
        if one.error:
            say(f"{one.id}: {one.message}.\n  {one.hint}")
    if not durability.refused(found):
        return False
    said = "stored all the same, as AUDITLOG_UNSAFE_DATABASE says" if server.allowed() else "answered 503 and not stored"
    say(f"Until PostgreSQL's settings are mended, what is sent is {said}.")
    return not server.allowed()


def _block(facts: dict[str, str], folder: Path) -> str:
    lines = ["", "Auditlog is running.", f"  Pages and API   {facts['url']}", f"  OTLP over HTTP  {facts['otlp_http']}/v1/traces"]
    lines += [f"  OTLP over gRPC  {facts['otlp_grpc']}"]
    if "password" in facts:
        lines += [f"  Login           {facts['username']} / {facts['password']}", f"  Ingest key      {facts['ingest_key']}"]
        lines += [f"  Kept in         {folder / first_run.FILE}"]
    else:
        lines += ["  Login and keys  as they were made at this database's first start"]
    lines += [f"  Logs            {folder / 'logs'}", "  Ctrl-C stops everything.", ""]
    return "\n".join(lines)
