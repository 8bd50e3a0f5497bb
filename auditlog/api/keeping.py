"""Owns the rules by which evidence goes into classes (`/api/v1/retention-rules`), told events (`/api/v1/clock-events`), and previews."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from rest_framework.request import Request
from rest_framework.response import Response

from auditlog.api import shapes
from auditlog.api.rendering import instant, name_of
from auditlog.api.retention import WritingView, body
from auditlog.api.schema import JSON
from auditlog.api.views import ReadView, newest_first
from auditlog.retention import clocks, preview, rules
from auditlog.search import evidence, parameters
from auditlog.search.parameters import PAGED, Parameter
from auditlog.search.scope import Scope
from auditlog.store.kept import Rule


class OneRule(msgspec.Struct, forbid_unknown_fields=True):
    """A rule as it is sent and answered."""

    attribute: str
    value: str
    class_no: int = msgspec.field(name="class")


class Replaced(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/retention-rules`."""

    rules: list[OneRule]
    version: int


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/clock-events`."""

    kind: str
    value: str
    event: str
    at: str | None


class RetentionRules(WritingView):
    """By which attributes of a resource the project's evidence goes into which retention class. The first rule that fits decides; without
    one the class of the key, else of the project. `version` 0: there never were rules."""

    answers = {JSON: shapes.RETENTION_RULES}
    takes = shapes.of(rules=shapes.some(shapes.RETENTION_RULE), version=shapes.COUNT)
    gives = shapes.RETENTION_RULES

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        return Response(_rules(rules.in_force(evidence.raw_connection(), scope.project_id)))

    def post(self, request: Request) -> Response:
        """Replace all rules. The body is `{"rules": [{"attribute", "value", "class"}], "version"}`; `version` is the one that they replace.
        They count for what arrives from then on; what is stored stays where it is. A key with the scopes `read` and `admin`. Codes:
        `parameter_invalid`; `high_risk` where an agent of the project is flagged and a class is shorter than 184 days; `state_conflict`
        where somebody else changed the rules meanwhile."""
        caller = self.caller(request)
        sent = body(request, Replaced)
        wanted = [Rule(rule.attribute, rule.value, rule.class_no) for rule in sent.rules]
        return Response(_rules(rules.replace(evidence.raw_connection(), caller.actor, caller.project.pk, wanted, sent.version)))


class ClockEvents(WritingView):
    """What was told of customers, users, sessions and others, from which clocks begin, newest first. Of each the newest counts."""

    parameters = PAGED
    answers = {JSON: shapes.listed(shapes.CLOCK_EVENT)}
    takes = shapes.of(kind=shapes.TEXT, value=shapes.TEXT, event=shapes.TEXT, at=shapes.MOMENT_OR_NONE)
    gives = shapes.CLOCK_EVENT

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        rows = partial(clocks.listed, evidence.raw_connection(), scope.project_id)
        return newest_first(request, given, rows, lambda one: one.told_at, _told)

    def post(self, request: Request) -> Response:
        """Tell of an event, for instance an account that was closed. The body is `{"kind", "value", "event", "at"}`: `kind` is `customer`,
        `user`, `session` or another kind of subject, `event` says in words what happened, `at` when. `at` null: the clock does not run (any
        more). A key with the scopes `read` and `admin`. Codes: `parameter_invalid`; `overloaded` where something is being disposed of at
        this moment: send it again."""
        caller = self.caller(request)
        sent = body(request, Said)
        at = None if sent.at is None else parameters.moment("at", sent.at)
        made = clocks.tell(evidence.raw_connection(), caller.actor, caller.project.pk, sent.kind, sent.value, sent.event, at)
        return Response(_told(made))


class RetentionPreview(ReadView):
    """What another version of a retention class would do to this project: when each of its periods would be due, and what is in it. Changes
    nothing. Refused as the change itself would be: `below_floor`, `high_risk`."""

    parameters = {
        "days": Parameter("How many days the class would have; without it as many as now.", "integer"),
        "clock": Parameter("`receipt`, or whose event the days would be counted from as well; without it as it is."),
    }
    answers = {JSON: shapes.RETENTION_PREVIEW}

    def answer(self, request: Request, scope: Scope, given: dict[str, str], **names: str) -> Response:
        asked = (names["class_no"], given.get("days"), given.get("clock"))
        return Response(_preview(preview.asked(evidence.raw_connection(), *asked, project_id=scope.project_id)))


def _rules(found: rules.Rules) -> dict[str, Any]:
    return {
        "version": found.version,
        "rules": [{"attribute": rule.attribute, "value": rule.value, "class": rule.class_no} for rule in found.rules],
        "created_at": instant(found.created_at),
        "created_by": name_of(found.created_by),
    }


def _told(one: clocks.Told) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "kind": one.kind,
        "value": one.value,
        "event": one.event,
        "at": instant(one.at),
        "told_at": instant(one.told_at),
        "told_by": name_of(one.told_by),
    }


def _preview(found: preview.Preview) -> dict[str, Any]:
    return {
        "class": found.now.class_no,
        "version": found.now.version,
        "days": found.now.days,
        "clock_of": found.now.clock_of,
        "new_days": found.days,
        "new_clock_of": found.clock_of,
        "second_person": found.waits,
        "becomes_due": {"periods": found.becomes, "events": found.becomes_events, "sessions": found.becomes_sessions},
        "reclassifications": found.longer,
        "no_longer_due": {"periods": found.postponed, "events": found.postponed_events, "sessions": found.postponed_sessions},
        "periods": [
            {
                "bucket": one.bucket, "from": instant(one.starts), "to": instant(one.ends), "due_at": instant(one.before),
                "new_due_at": instant(one.then), "due": one.was_due, "new_due": one.would_be, "events": one.events,
                "sessions": one.sessions, "waiting_traces": one.waiting,
            }
            for one in found.periods
        ],
    }  # fmt: skip
