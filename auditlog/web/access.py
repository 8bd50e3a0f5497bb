"""Owns who may do what on the pages: the roles, the rights that each gives, and the project that a person is a member of."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.http import HttpRequest
from django.utils import timezone

from auditlog.errors import Problem
from auditlog.governance import Action, Actor, record
from auditlog.models import Project
from auditlog.retention import recording
from auditlog.search import evidence
from auditlog.web import purpose
from auditlog.web.purpose import Stated

# Asked by every page: 0.3 ms of CPU instead of 1.5 as the ORM puts it together.
_MEMBERSHIP: Final = """
    SELECT p.*, m.expires_at AS member_until,
      ARRAY(SELECT g.name FROM member_group AS mg JOIN auth_group AS g ON g.id = mg.group_id WHERE mg.member_id = m.id) AS member_roles
    FROM member AS m JOIN project AS p ON p.id = m.project_id
    WHERE m.user_id = %s AND (m.expires_at IS NULL OR m.expires_at > %s) ORDER BY m.project_id LIMIT 1"""


class Right(enum.Flag):
    """What a page may ask for."""

    FIND = enum.auto()  # that something happened: times, identifiers, names of tools, counts, verdicts
    CONTENT = enum.auto()  # what was said, asked, called and returned
    MANAGE = enum.auto()  # keys, members, and whether content is shown without a purpose
    PIN = enum.auto()  # marking what a person holds to matter
    GOVERN = enum.auto()  # holds, retention classes, scheduled deletion
    OVERSEE = enum.auto()  # who did what with evidence
    EXPORT = enum.auto()  # exports, which hold everything of their scope, and to whom they are released


class Role(NamedTuple):
    rights: Right
    words: str  # as the settings page explains it


# Names of Django groups (migration 0006). A role that is to read content says so; managing keys is no reason to.
ROLES: Final[dict[str, Role]] = {
    "viewer": Role(Right.FIND, "finds sessions and sees who, when and which tools, but nothing of what was said"),
    "investigator": Role(Right.FIND | Right.CONTENT | Right.PIN, "reads everything, each view is recorded; pins passages"),
    "compliance": Role(
        Right.FIND | Right.GOVERN | Right.EXPORT | Right.OVERSEE,
        "sees what a viewer sees, and who did what; places holds, decides on retention, exports",
    ),
    "examiner": Role(
        Right.FIND | Right.CONTENT | Right.OVERSEE, "reads everything, and who did what, until a day that is set; each view is recorded"
    ),
    "admin": Role(Right.FIND | Right.MANAGE, "makes keys and members; reads no content by this role"),
}


class Access(NamedTuple):
    """A person's membership: one project, and what they may do in it until when."""

    user: Any
    project: Project
    roles: tuple[str, ...]
    rights: Right
    expires_at: datetime | None
    address: str = ""
    stated: Stated | None = None  # what they said, in this login, that they read content of this project for; if it asks
    reads: bool = False  # whether what is answered shows content, so that its record says what for

    def need(self, right: Right) -> None:
        """Raises Problem("scope_missing")."""
        if right not in self.rights:
            able = " or ".join(name for name, role in ROLES.items() if right in role.rights)
            raise Problem("scope_missing", f"Your role ({', '.join(self.roles) or 'none'}) does not allow this; it needs {able}.")

    def reading(self) -> Access:
        """The same who now reads content. Raises Problem("purpose_required")."""
        if self.project.ask_purpose and self.stated is None:
            raise Problem(
                "purpose_required", "This project asks why somebody looks before it shows content, and you have not said so in this login."
            )
        return self._replace(reads=True)

    @property
    def actor(self) -> Actor:
        return Actor("person", str(self.user.pk), self.user.get_username(), self.roles, self.address)

    def record(self, action: Action, **about: Any) -> None:
        """Commits that this person does this. Raises Problem: then it may not be done."""
        why = self.stated.about if self.reads and self.stated else {}
        record(recording.stored(evidence.raw_connection(), self.project.pk), self.actor, action, about | why)


def access_of(request: HttpRequest, user: Any = None) -> Access | None:
    """What the person who is logged in (or `user`) may do; None: nothing, because they are a member of nothing (any more)."""
    user = user or request.user
    if not user.is_authenticated or not user.is_active:
        return None
    project = next(iter(Project.objects.raw(_MEMBERSHIP, [user.pk, timezone.now()])), None)
    if project is None:
        return None
    given: Any = project  # with what the question adds to it
    roles = tuple(name for name in ROLES if name in given.member_roles)
    rights = Right(0)
    for name in roles:
        rights |= ROLES[name].rights
    stated = purpose.stated_in(request.session, project.pk) if project.ask_purpose else None
    return Access(user, project, roles, rights, given.member_until, request.META.get("REMOTE_ADDR") or "", stated)
