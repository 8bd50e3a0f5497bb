"""Owns `manage.py rotate_log_key`: a new key for the log, which the next checkpoint is signed with beside the old one."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from auditlog.management.commands.seal import record_as_operator
from auditlog.models import Project
from auditlog.seal import keys
from auditlog.seal.refusal import Refused


class Command(BaseCommand):
    help = (
        "Make a new key of the log. The next checkpoint is signed by both, all later ones by the new one; the old private key is removed."
    )
    requires_system_checks: list[str] = []

    def handle(self, *_: Any, **__: Any) -> None:
        try:
            key = keys.ask_for_rotation(keys.path())
        except Refused as error:
            raise CommandError(str(error)) from error
        except FileExistsError as error:
            raise CommandError("A rotation is under way: the sealer takes its key with the next checkpoint.") from error
        # The record is itself a batch, so that a checkpoint follows. Killed here: the key is there, and the next batch brings one.
        for project in Project.objects.all():
            record_as_operator(project, "log.rotate", {"key": key.text()})
        self.stdout.write(f"The next checkpoint is signed by the new key, too: {key.text()}")
