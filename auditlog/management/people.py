"""Owns who a command acts for: a person with an account who may decide on retention."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError

from auditlog.governance import Actor
from auditlog.models import Member
from auditlog.web.access import ROLES, Right


def person(username: str | None) -> Actor:
    """Raises CommandError."""
    if not username:
        raise CommandError("Say who decides: --by USERNAME.")
    user = get_user_model().objects.filter(username=username, is_active=True).first()
    if user is None:
        raise CommandError(f"There is no active account {username!r}.")
    able = [name for name, role in ROLES.items() if Right.GOVERN in role.rights]
    if not any(not member.past for member in Member.objects.filter(user=user, groups__name__in=able)):
        raise CommandError(f"{username} may not decide on retention; give them the role {' or '.join(able)} under Settings.")
    return Actor("person", str(user.pk), user.get_username(), tuple(able))
