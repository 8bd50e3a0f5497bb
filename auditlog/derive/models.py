"""Owns the derived tables: what the background pass computed from evidence, and can compute again at any time.

Every row belongs to an edition. A rebuild fills a new edition beside the current one; readers see the current one only.
Nothing here refers to another table by a foreign key: rows are functions of the evidence alone, whatever its order of arrival.
Keys and indexes begin with the column that tells most. Edition and project come last: until the first ANALYZE the planner takes
any column for selective, and an index that began with them was read whole (80 ms a session where 0.2 are enough).
"""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
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


class PartLeaves(models.Model):
    """The digests of a part's events, whose Merkle root its leaf in the log names: without them a proof reads all events of the part.

    Only of parts of several events of which all were there; whoever reads them checks them against the root.
    """

    pk = models.CompositePrimaryKey("batch_no", "bucket", "edition")
    edition = models.SmallIntegerField()
    batch_no = models.BigIntegerField()
    bucket = models.IntegerField()
    digests = models.BinaryField()  # 32 bytes each, ascending: the order of the leaves

    class Meta:
        db_table = "part_leaves"
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
    cut = models.TextField(db_default="")  # what was left out of it because the session is too large; empty: nothing
    model_calls = models.IntegerField(db_default=0)
    tool_calls = models.IntegerField(db_default=0)
    cost_usd = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    parts = models.IntegerField(db_default=0)  # rows of timeline_part; 0: too short for it
    text_due = models.DateTimeField(null=True)  # its text index is older than its summary, since then

    class Meta:
        db_table = "session"
        db_table_comment = DERIVED
        indexes: ClassVar = [
            models.Index(fields=["project_id", "edition", "-sort_at", "-key"], name="session_by_time"),
            models.Index(fields=["edition", "stale_since"], name="session_stale", condition=models.Q(stale_since__isnull=False)),
            models.Index(fields=["edition", "text_due"], name="session_text_due", condition=models.Q(text_due__isnull=False)),
            models.Index(fields=["cost_usd", "project_id", "edition"], name="session_cost", condition=models.Q(cost_usd__isnull=False)),
            models.Index(fields=["tool_calls", "project_id", "edition"], name="session_tool_calls"),
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


class Action(models.Model):
    """One tool call of a session's timeline. All rows of a session are written together with its summary."""

    pk = models.CompositePrimaryKey("session_key", "step", "edition")
    edition = models.SmallIntegerField()
    project_id = models.IntegerField()
    session_key = models.CharField(max_length=26)
    step = models.IntegerField()  # n of the timeline's step
    tool = models.TextField()  # a display copy, cut
    tool_digest = models.UUIDField()  # keys.term_digest(project_id, "tool", name): what an exact look-up asks for
    call_id = models.TextField(null=True)
    outcome = models.CharField(max_length=8)  # returned, failed, refused, unknown
    offered = models.BooleanField(null=True)  # whether the tool was offered in that request; NULL: cannot be checked
    arguments_valid = models.BooleanField(null=True)  # whether its schema accepts the arguments; likewise
    occurred_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    sort_at = models.DateTimeField()  # occurred_at, else the session's sort_at
    began_at = models.DateTimeField()  # the session's sort_at, as in the tables of values and amounts: what a range of time is asked of
    amount = models.DecimalField(max_digits=38, decimal_places=12, null=True)  # what the call moved, for display; all are in action_amount
    currency = models.CharField(max_length=3, null=True)
    object = models.TextField(null=True)  # the ID that the call made
    event_ids = models.JSONField(default=list)
    digest = models.UUIDField()  # of all that is said of this call: an unchanged action is not written again

    class Meta:
        db_table = "action"
        db_table_comment = DERIVED
        indexes: ClassVar = [
            models.Index(fields=["project_id", "edition", "-sort_at", "-session_key", "-step"], name="action_by_time"),
            models.Index(fields=["tool_digest", "edition", "-sort_at"], name="action_tool"),
        ]


class ActionValue(models.Model):
    """A scalar of an action's arguments or result, findable by equality, and where it stands."""

    pk = models.CompositePrimaryKey("session_key", "step", "n", "edition")
    edition = models.SmallIntegerField()
    project_id = models.IntegerField()
    session_key = models.CharField(max_length=26)
    step = models.IntegerField()
    n = models.SmallIntegerField()  # ordinal within the action
    digest = models.UUIDField()  # one of keys.value_digests(project_id, text): numbers in one spelling, texts exact
    side = models.CharField(max_length=9)  # arguments, result
    pointer = models.TextField()  # JSON pointer
    began_at = models.DateTimeField()

    class Meta:
        db_table = "action_value"
        db_table_comment = DERIVED
        indexes: ClassVar = [models.Index(fields=["digest", "edition", "began_at"], name="action_value_digest")]


class ActionAmount(models.Model):
    """An amount of money in an action's arguments or result."""

    pk = models.CompositePrimaryKey("session_key", "step", "n", "edition")
    edition = models.SmallIntegerField()
    project_id = models.IntegerField()
    session_key = models.CharField(max_length=26)
    step = models.IntegerField()
    n = models.SmallIntegerField()
    amount = models.DecimalField(max_digits=38, decimal_places=12)
    currency = models.CharField(max_length=3, null=True)  # NULL: the sender did not say
    side = models.CharField(max_length=9)
    pointer = models.TextField()
    began_at = models.DateTimeField()

    class Meta:
        db_table = "action_amount"
        db_table_comment = DERIVED
        indexes: ClassVar = [models.Index(fields=["amount", "project_id", "edition", "began_at"], name="action_amount_amount")]


class SessionTerm(models.Model):
    """What a session is filtered by: that its timeline shows this agent, tool, model, prompt, ...; look-ups are by digest.

    Kinds: agent, agent_version (JSON [name, version], and the version alone), tool, tool_schema and system_prompt (version: SHA-256
    in hex), model (as requested), response_model, response_id, call_id, finding (code), verdict, gap (code), user, customer (also
    those that only a call's arguments name). Digest: keys.term_digest(project_id, kind, text).
    """

    pk = models.CompositePrimaryKey("session_key", "digest", "edition")
    edition = models.SmallIntegerField()
    project_id = models.IntegerField()
    session_key = models.CharField(max_length=26)
    kind = models.CharField(max_length=16)
    digest = models.UUIDField()
    seen_at = models.DateTimeField()  # when it was first used in this session, else the session's sort_at

    class Meta:
        db_table = "session_term"
        db_table_comment = DERIVED
        indexes: ClassVar = [models.Index(fields=["digest", "edition", "seen_at"], name="session_term_digest")]


class Version(models.Model):
    """One content of a system prompt or of a tool's schema, and when it was used: the extremes of `session_term.seen_at`."""

    pk = models.CompositePrimaryKey("digest", "edition")
    edition = models.SmallIntegerField()
    project_id = models.IntegerField()
    kind = models.CharField(max_length=16)  # system_prompt, tool_schema
    digest = models.UUIDField()  # that of session_term
    version = models.CharField(max_length=64)  # SHA-256 in hex, of the prompt's UTF-8 or of the tool's canonical JSON
    name = models.TextField()  # the tool's name; a prompt's first words
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()

    class Meta:
        db_table = "version"
        db_table_comment = DERIVED
        indexes: ClassVar = [models.Index(fields=["project_id", "kind", "edition", "-last_seen"], name="version_by_time")]


class TimelinePart(models.Model):
    """The timeline of a session of several pages, so that one page is read alone: n = 0 is the head, n = 1 the first page.

    JSON in zstd, a function of the events like everything here. It holds what they say: whatever is erased there must go here, too.
    """

    pk = models.CompositePrimaryKey("session_key", "n", "edition")
    edition = models.SmallIntegerField()
    project_id = models.IntegerField()
    session_key = models.CharField(max_length=26)
    n = models.IntegerField()
    digest = models.UUIDField()  # of the data: an unchanged part is not written again
    data = models.BinaryField()

    class Meta:
        db_table = "timeline_part"
        db_table_comment = DERIVED


class SearchText(models.Model):
    """The words of a session, each thing once; system prompts and schemas are not in it. A long session has several rows.

    It holds what the events say: whatever is erased there must go here, too.
    """

    pk = models.CompositePrimaryKey("session_key", "n", "edition")
    edition = models.SmallIntegerField()
    project_id = models.IntegerField()
    session_key = models.CharField(max_length=26)
    n = models.IntegerField()
    digest = models.UUIDField()  # of both: an unchanged part is not written again
    tsv = SearchVectorField()  # words.indexed(words.fold(text)), not by PostgreSQL's parser; a query is folded likewise
    texts = models.BinaryField(null=True)  # the texts with their steps (derive.said), for excerpts; NULL: written before there were any

    class Meta:
        db_table = "search_text"
        db_table_comment = DERIVED
        indexes: ClassVar = [GinIndex(fields=["tsv"], name="search_text_tsv")]


class AccessLog(models.Model):
    """What somebody did with evidence, a row for each governance event: found by who, what, when and to which object."""

    pk = models.CompositePrimaryKey("trace_key", "event_id", "project_id", "edition")
    edition = models.SmallIntegerField()
    project_id = models.IntegerField()
    trace_key = models.UUIDField()
    event_id = models.UUIDField()
    bucket = models.IntegerField()
    at = models.DateTimeField()
    action = models.TextField()
    actor_kind = models.TextField()
    actor_id = models.TextField()
    actor_name = models.TextField()
    objects = ArrayField(models.TextField())  # kind:name
    purpose = models.TextField()

    rows = models.Manager()

    class Meta:
        db_table = "access_log"
        db_table_comment = DERIVED
        default_manager_name = "rows"
        indexes: ClassVar = [
            models.Index(fields=["project_id", "edition", "at"], name="access_log_at"),
            models.Index(fields=["actor_name", "project_id", "edition", "at"], name="access_log_actor"),
            models.Index(fields=["actor_id", "project_id", "edition", "at"], name="access_log_actor_id"),
            models.Index(fields=["action", "project_id", "edition", "at"], name="access_log_action"),
            GinIndex(fields=["objects"], name="access_log_objects"),
        ]
