"""Owns the failed attempts to log in, which slow down whoever guesses."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class LoginFailure(models.Model):
    """One failed attempt. The account is kept as a digest: people type passwords into the wrong field."""

    account = models.BinaryField()
    address = models.GenericIPAddressField(null=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "login_failure"
        indexes: ClassVar = [
            models.Index(fields=["account", "at"], name="login_failure_account"),
            models.Index(fields=["address", "at"], name="login_failure_address"),
        ]

    def __str__(self) -> str:
        return f"failed login at {self.at}"
