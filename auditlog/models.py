"""Owns the governance tables: projects, their API keys and members, and the jobs of the background workers.

Evidence tables are no models: they are written and read by `auditlog.store` alone (migration 0001, hand-written SQL).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from auditlog import keys
from auditlog.derive import models as derived  # noqa: F401  (Django finds an application's models here)
from auditlog.web import models as web  # noqa: F401  (likewise)


class Project(models.Model):
    """What keys and evidence belong to. Its secret keys event IDs and content keys, and is stored only wrapped."""

    id = models.AutoField(primary_key=True)
    name = models.TextField()
    slug = models.SlugField(max_length=63, unique=True)
    secret_wrapped = models.BinaryField()
    class_no = models.SmallIntegerField(default=1)
    period = models.CharField(max_length=5, default="month", choices=[("month", "month"), ("day", "day")])
    text_index = models.BooleanField(db_default=True, default=True)  # whether the words of its sessions are indexed (q)
    ask_purpose = models.BooleanField(db_default=False, default=False)  # before content is shown (web/purpose.py)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "project"
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(period__in=["month", "day"]), name="project_period"),
            models.CheckConstraint(condition=models.Q(class_no__gte=1), name="project_class_no"),
        ]

    def __str__(self) -> str:
        return self.slug


class ApiKey(models.Model):
    """A key as stored: its public ID and the digest of its whole text, never the text."""

    public_id = models.CharField(max_length=12, unique=True)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="api_keys")
    name = models.TextField()
    scopes = ArrayField(models.CharField(max_length=16, choices=[(scope, scope) for scope in keys.SCOPES]))
    secret_digest = models.BinaryField()
    class_no = models.SmallIntegerField(null=True, blank=True)  # retention class of what it sends; NULL: its project's
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "api_key"
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(class_no=None) | models.Q(class_no__gte=1), name="api_key_class_no"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @classmethod
    def issue(cls, project: Project, name: str, scopes: list[str]) -> tuple[ApiKey, str]:
        """A new key and its text, which is shown once and cannot be had again."""
        if unknown := set(scopes) - set(keys.SCOPES):
            raise ValueError(f"unknown scopes {sorted(unknown)}; there are {', '.join(keys.SCOPES)}")
        made = keys.make()
        row = cls.objects.create(project=project, name=name, scopes=scopes, public_id=made.public_id, secret_digest=made.digest)
        return row, made.text


class Member(models.Model):
    """A person in a project, with roles (groups; what each may do is in `auditlog.web.access`), for good or until a time."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="members")
    groups = models.ManyToManyField(Group, db_table="member_group")
    expires_at = models.DateTimeField(null=True, blank=True)
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "member"
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "project"], name="member_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.project}"

    @property
    def past(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @classmethod
    def join(cls, user: Any, project: Project, roles: Iterable[str], expires_at: datetime | None = None) -> Member:
        """Makes a person a member with exactly these roles."""
        member, _ = cls.objects.update_or_create(user=user, project=project, defaults={"expires_at": expires_at})
        member.groups.set([Group.objects.get_or_create(name=role)[0] for role in roles])
        return member


class Job(models.Model):
    """Work for the background workers. The row is the job; a broker's message is only a hint to look at it."""

    class State(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    kind = models.CharField(max_length=63)
    args = models.JSONField(default=dict)
    state = models.CharField(max_length=7, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(default="", blank=True)
    result = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "job"
        indexes: ClassVar = [
            models.Index(fields=["due_at"], name="job_open", condition=models.Q(state__in=["pending", "running"])),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} ({self.state})"


class Verification(models.Model):
    """One verification of the database, or of some of it: what was computed again and what was wrong (auditlog/verifications.py)."""

    scope = models.JSONField()
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    counts = models.JSONField(default=dict)
    faults = models.JSONField(default=list)  # the first ones: code, batch_no, event, message
    fault_count = models.BigIntegerField(default=0)  # all of them
    log_size = models.BigIntegerField(null=True, blank=True)  # of the newest checkpoint when it finished; None: nothing was sealed
    log_root = models.BinaryField(null=True, blank=True)
    progress = models.JSONField(null=True, blank=True)  # where to go on; None before the first portion and after the last

    class Meta:
        db_table = "verification"

    def __str__(self) -> str:
        return f"verification {self.pk} ({self.fault_count} faults)"

    @property
    def cut_short(self) -> bool:
        return self.fault_count > len(self.faults)
