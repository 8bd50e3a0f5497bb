"""Owns the Django application `auditlog`: its system checks, and that a migrated database has roles, rights and the broker's tables."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


def _after_migrate(*, using: str, **_: Any) -> None:
    from auditlog.platform import rights

    rights.apply(using)


class AuditlogConfig(AppConfig):
    name = "auditlog"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from auditlog import checks  # noqa: F401  (importing registers them)

        # Sent once all migrations of all apps are done; may be repeated.
        post_migrate.connect(_after_migrate, sender=self, dispatch_uid="auditlog.rights")
