"""Owns what the pages keep for themselves: failed attempts to log in, which slow down whoever guesses, pins and saved searches."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
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


class Pin(models.Model):
    """A passage of an instruction that somebody holds to be the one that matters for a step. A person's view, never evidence.

    It holds no words: they are read from the evidence, so that what is erased there is gone here, too. The step is named by its first
    event and the call's ID, because its number changes when events come late.
    """

    project = models.ForeignKey("auditlog.Project", on_delete=models.CASCADE)
    event = models.CharField(max_length=64)
    call_id = models.TextField(db_default="")
    prompt = models.CharField(max_length=64)  # version: SHA-256 of the text, in hex
    start = models.IntegerField()  # characters of the prompt, from start up to end
    end = models.IntegerField()
    user: Any = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True)
    name = models.CharField(max_length=150)  # of the user, when it was pinned
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "pin"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "event", "call_id", "prompt", "start"], name="pin_once"),
        ]

    def __str__(self) -> str:
        return f"characters {self.start} to {self.end} of {self.prompt[:8]}"


class SavedSearch(models.Model):
    """A search that a member wants again, as its address says it. Others of the project see it where it is shared, and nobody else does."""

    project = models.ForeignKey("auditlog.Project", on_delete=models.CASCADE)
    user: Any = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    name = models.CharField(max_length=80)
    query = models.TextField()
    shared = models.BooleanField(db_default=False, default=False)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "saved_search"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "user", "name"], name="saved_search_once"),
        ]

    def __str__(self) -> str:
        return self.name
