"""Owns the derived tables: what the background pass computed from evidence, and can compute again at any time.

Every row belongs to an edition. A rebuild fills a new edition beside the current one; readers see the current one only.
Nothing here refers to another table by a foreign key: rows are functions of the evidence alone, whatever its order of arrival.
Keys and indexes begin with the column that tells most. Edition and project come last: until the first ANALYZE the planner takes
any column for selective, and an index that began with them was read whole (80 ms a session where 0.2 are enough).
"""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

# The comment is what gives role `derive` the right to write and takes it from role `web` (store/roles.sql).
DERIVED = "derived"


class Edition(models.Model):
    """One complete computation. Every batch of `system_id` below `watermark` is consumed; so are all of other systems."""

    number = models.SmallIntegerField(primary_key=True)
    state = models.CharField(max_length=8, choices=[(s, s) for s in ("current", "filling", "old")])
    system_id = models.BigIntegerField(db_default=0)
    watermark = models.BigIntegerField(db_default=0)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "edition"
        db_table_comment = DERIVED
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["state"], condition=models.Q(state="current"), name="edition_one_current"),
        ]

    def __str__(self) -> str:
        return f"{self.number} ({self.state})"


class Derived(models.Model):
    """A batch that an edition has consumed: written in the transaction that wrote what came of it."""

    pk = models.CompositePrimaryKey("batch_no", "edition")
    edition = models.SmallIntegerField()
    batch_no = models.BigIntegerField()
    derived_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "derived"
        db_table_comment = DERIVED


class DeriveFailure(models.Model):
    """A batch that could not be consumed. After three attempts it is set aside, visible, and the pass goes on."""

    pk = models.CompositePrimaryKey("batch_no", "edition")
    edition = models.SmallIntegerField()
    batch_no = models.BigIntegerField()
    project_id = models.IntegerField()
    attempts = models.SmallIntegerField(db_default=0)
    error = models.TextField()
    failed_at = models.DateTimeField()

    class Meta:
        db_table = "derive_failure"
        db_table_comment = DERIVED


class Tally(models.Model):
    """Events of a project so far. Exact, because a batch is added in the transaction that marks it consumed."""

    pk = models.CompositePrimaryKey("project_id", "edition")
    edition = models.SmallIntegerField()
    project_id = models.IntegerField()
    events = models.BigIntegerField(db_default=0)
    batches = models.BigIntegerField(db_default=0)
    quarantined = models.BigIntegerField(db_default=0)

    class Meta:
        db_table = "tally"
        db_table_comment = DERIVED


class Trace(models.Model):
    """One trace (or what stands for one, where an item has no trace ID): where its events lie and which session it is of."""

    pk = models.CompositePrimaryKey("trace_key", "project_id", "edition")
    edition = models.SmallIntegerField()
    project_id = models.IntegerField()
    trace_key = models.UUIDField()
    trace_id = models.BinaryField(null=True)
    own_key = models.CharField(max_length=26)  # key of the session that it is by itself; leads to session_key once it has joined one
    session_key = models.CharField(max_length=26)
    buckets = ArrayField(models.IntegerField())
    first_at = models.DateTimeField(null=True)  # earliest and latest time that an event of it names; NULL: none does
    last_at = models.DateTimeField(null=True)
    received_first = models.DateTimeField()
    received_last = models.DateTimeField()

    class Meta:
        db_table = "trace"
        db_table_comment = DERIVED
        indexes: ClassVar = [
            models.Index(fields=["session_key", "edition"], name="trace_session"),
            models.Index(fields=["trace_id", "project_id", "edition"], name="trace_trace_id"),
            models.Index(fields=["own_key", "edition"], name="trace_own_key"),
        ]


class Declared(models.Model):
    """What the events of a trace declared of identity: its session, and its subjects (user, customer, patient, ...).

    Kept for ever, winner or not: which session a trace belongs to is chosen from all of it, again with every late event.
    """

    pk = models.CompositePrimaryKey("trace_key", "kind", "digest", "project_id", "edition")
    edition = models.SmallIntegerField()
    project_id = models.IntegerField()
    trace_key = models.UUIDField()
    kind = models.TextField()  # session, agent, agent_version, or a subject's: user, customer, patient, ...
    digest = models.UUIDField()  # of the value, which may be of any length
    value = models.BinaryField()  # UTF-8; bytes because a value may contain NUL or a lone surrogate
    rank = models.SmallIntegerField()  # how explicit the declaration is; lowest wins, ties go to the smaller value

    class Meta:
        db_table = "declared"
        db_table_comment = DERIVED
        indexes: ClassVar = [models.Index(fields=["digest", "kind", "project_id", "edition"], name="declared_value")]


class Session(models.Model):
    """One conversation or run: the traces that name it, and a summary of what happened in it for the search ledger."""

    pk = models.CompositePrimaryKey("key", "edition")
    edition = models.SmallIntegerField()
    key = models.CharField(max_length=26)
    project_id = models.IntegerField()
    session_id = models.BinaryField()  # UTF-8, as declared; of a trace by itself: trace:<hex>
    declared = models.BooleanField()  # False: a trace by itself
    traces = models.IntegerField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    sort_at = models.DateTimeField()  # started_at, else when its first event was received
    # The summary: a function of all its events, written again whenever one was added. Display copies, never evidence.
    stale_since = models.DateTimeField(null=True)  # an event came after the summary was written
    summarised_at = models.DateTimeField(null=True)
    summary_seconds = models.FloatField(db_default=0)  # what writing it took: a huge session is summarised less often
    agent_name = models.TextField(null=True)
    agent_version = models.TextField(null=True)
    opening = models.TextField(db_default="")  # first words of the first request
    totals = models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict)
    verdict = models.CharField(max_length=16, null=True)
    gaps = models.IntegerField(db_default=0)
    findings = models.JSONField(db_default=models.Value([], models.JSONField()), default=list)
    last_action = models.JSONField(null=True)
    error = models.TextField(db_default="")  # why the summary could not be written

    class Meta:
        db_table = "session"
        db_table_comment = DERIVED
        indexes: ClassVar = [
            models.Index(fields=["project_id", "edition", "-sort_at", "-key"], name="session_by_time"),
            models.Index(fields=["edition", "stale_since"], name="session_stale", condition=models.Q(stale_since__isnull=False)),
        ]


class Quarantined(models.Model):
    """An item that could not be decoded: kept verbatim among the evidence, listed here so that it can be found."""

    pk = models.CompositePrimaryKey("trace_key", "event_id", "project_id", "edition")
    edition = models.SmallIntegerField()
    project_id = models.IntegerField()
    trace_key = models.UUIDField()
    event_id = models.UUIDField()
    bucket = models.IntegerField()
    batch_no = models.BigIntegerField()
    received_at = models.DateTimeField()
    code = models.CharField(max_length=64)

    class Meta:
        db_table = "quarantined"
        db_table_comment = DERIVED
        indexes: ClassVar = [models.Index(fields=["project_id", "edition", "-received_at"], name="quarantined_by_time")]
