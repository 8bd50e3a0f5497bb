"""Owns which project a person who is logged in may see."""

from __future__ import annotations

from typing import Any

from auditlog.models import Project


def project_of(user: Any) -> Project | None:
    """The project whose evidence this person sees; None: none at all.

    Operators (superusers) see the oldest project, which the first start made. Nobody else is a member of anything yet: a
    person sees nothing until somebody says what they may see.
    """
    if not getattr(user, "is_active", False) or not getattr(user, "is_superuser", False):
        return None
    return Project.objects.order_by("pk").first()
