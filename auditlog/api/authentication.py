"""Owns who calls the read API: an API key with its scopes, or a person who is logged in; and which project they see."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from auditlog import keys
from auditlog.errors import Problem
from auditlog.governance import Action, Actor, record, used
from auditlog.models import ApiKey, Project
from auditlog.retention import recording
from auditlog.search import evidence
from auditlog.web import purpose
from auditlog.web.access import Access, Right, access_of
from auditlog.web.purpose import Stated

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it imports this module: REST framework reads its settings there

log = logging.getLogger(__name__)

LAST_USED_EVERY: Final = timedelta(minutes=1)  # a key's last use is written at most this often: reading must not become writing


class Caller(msgspec.Struct, frozen=True):
    """Whom a request acts for. Every query of the API starts from the project's number."""

    project: Project
    scopes: frozenset[str]
    actor: Actor
    access: Access | None = None  # of a person; a key may what its scopes say
    stated: Stated | None = None  # what this request reads for, where the project asks

    def need(self, right: Right) -> None:
        """Raises Problem("scope_missing") for a person who may not."""
        if self.access is not None:
            self.access.need(right)

    def stating(self, headers: Mapping[str, str], *, content: bool) -> Caller:
        """The same with what the request says that it reads for, where the project asks: for `content` it has to.

        Raises Problem("purpose_required" or "parameter_invalid")."""
        if not self.project.ask_purpose:
            return self
        said = purpose.sent(headers) or (self.access.stated if self.access else None)
        if content and said is None:
            raise Problem("purpose_required", purpose.REQUIRED)
        return msgspec.structs.replace(self, stated=said)

    def record(self, action: Action, about: Mapping[str, Any]) -> None:
        """Commits that the caller reads this. Raises Problem: then it may not be answered."""
        why = self.stated.about if self.stated else {}
        record(recording.stored(evidence.raw_connection(), self.project.pk), self.actor, action, {**about, **why})


def key_text(request: Request) -> str | None:
    """The key of a request, or None where none was sent. The form is the one of ingest."""
    authorization = request.headers.get("Authorization", "")
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return str(value.strip())
    return request.headers.get("X-Api-Key") or None


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>` or `x-api-key: <key>`."""

    def authenticate(self, request: Request) -> tuple[None, Caller] | None:
        text = key_text(request)
        if text is None:
            return None
        row = ApiKey.objects.filter(public_id=keys.parse(text)).select_related("project").first()
        if row is None or not hmac.compare_digest(bytes(row.secret_digest), keys.digest(text)):
            raise Problem("key_unknown", "The API key is not known here. Make one under Settings, and copy the whole of it.")
        now = timezone.now()
        if row.revoked_at is not None:  # for good, also where this machine's clock is behind that of whoever revoked it
            raise Problem("key_revoked", "The API key was revoked. Use another one, or make one under Settings.")
        if row.expired:
            raise Problem("key_expired", "The API key has expired. Use another one, or make one under Settings.")
        actor = Actor("key", row.public_id, row.name, address=request.META.get("REMOTE_ADDR") or "")
        if row.last_used_at is None or row.last_used_at < now - LAST_USED_EVERY:
            _note(row, actor, now)
        return None, Caller(row.project, frozenset(row.scopes), actor)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="auditlog"'


def _note(row: ApiKey, actor: Actor, now: datetime) -> None:
    """That the key was used. What may be read of a store that takes no records (its status) can be read all the same: what shows content
    has a record of its own, without which nothing is shown."""
    try:
        used(recording.stored(evidence.raw_connection(), row.project_id), actor, row.last_used_at, now)
    except Problem as problem:
        log.warning("api.key_use_not_recorded", extra={"key_id": row.pk, "code": problem.code})
    else:
        ApiKey.objects.filter(pk=row.pk).update(last_used_at=now)


class BrowserAuthentication(SessionAuthentication):
    """A person who is logged in to the pages reads the API with the same rights."""

    def authenticate(self, request: Request) -> tuple[Any, Caller] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        access = access_of(request, found[0])
        if access is None:
            raise Problem("scope_missing", "You are not a member of any project. Ask an administrator to add you.")
        access.need(Right.CONTENT)  # the API has no form without content
        return found[0], Caller(access.project, frozenset({"read"}), access.actor, access)


class HasScope(BasePermission):
    """The scope that a view names (`required_scope`), which is `read` where it names none."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        caller = request.auth
        if not isinstance(caller, Caller):
            raise Problem("key_missing", "Send an API key as `Authorization: Bearer <key>` or `x-api-key: <key>`.")
        scope = getattr(view, "required_scope", "read")
        if scope not in caller.scopes:
            raise Problem("scope_missing", f"This API key has not the scope `{scope}`. Use a key that has it.")
        return True
