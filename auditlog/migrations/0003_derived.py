"""Owns the derived tables, as `auditlog/derive/models.py` declares them, and the first edition."""

import django.contrib.postgres.fields
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0002_governance"),
    ]

    operations = [
        migrations.CreateModel(
            name="Derived",
            fields=[
                ("pk", models.CompositePrimaryKey("batch_no", "edition", blank=True, editable=False, primary_key=True, serialize=False)),
                ("edition", models.SmallIntegerField()),
                ("batch_no", models.BigIntegerField()),
                ("derived_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "db_table": "derived",
                "db_table_comment": "derived",
            },
        ),
        migrations.CreateModel(
            name="DeriveFailure",
            fields=[
                ("pk", models.CompositePrimaryKey("batch_no", "edition", blank=True, editable=False, primary_key=True, serialize=False)),
                ("edition", models.SmallIntegerField()),
                ("batch_no", models.BigIntegerField()),
                ("project_id", models.IntegerField()),
                ("attempts", models.SmallIntegerField(db_default=0)),
                ("error", models.TextField()),
                ("failed_at", models.DateTimeField()),
            ],
            options={
                "db_table": "derive_failure",
                "db_table_comment": "derived",
            },
        ),
        migrations.CreateModel(
            name="Tally",
            fields=[
                ("pk", models.CompositePrimaryKey("project_id", "edition", blank=True, editable=False, primary_key=True, serialize=False)),
                ("edition", models.SmallIntegerField()),
                ("project_id", models.IntegerField()),
                ("events", models.BigIntegerField(db_default=0)),
                ("batches", models.BigIntegerField(db_default=0)),
                ("quarantined", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "tally",
                "db_table_comment": "derived",
            },
        ),
        migrations.CreateModel(
            name="Declared",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "trace_key",
                        "kind",
                        "digest",
                        "project_id",
                        "edition",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("edition", models.SmallIntegerField()),
                ("project_id", models.IntegerField()),
                ("trace_key", models.UUIDField()),
                ("kind", models.TextField()),
                ("digest", models.UUIDField()),
                ("value", models.BinaryField()),
                ("rank", models.SmallIntegerField()),
            ],
            options={
                "db_table": "declared",
                "db_table_comment": "derived",
                "indexes": [models.Index(fields=["digest", "kind", "project_id", "edition"], name="declared_value")],
            },
        ),
        migrations.CreateModel(
            name="Edition",
            fields=[
                ("number", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("state", models.CharField(choices=[("current", "current"), ("filling", "filling"), ("old", "old")], max_length=8)),
                ("system_id", models.BigIntegerField(db_default=0)),
                ("watermark", models.BigIntegerField(db_default=0)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "db_table": "edition",
                "db_table_comment": "derived",
                "constraints": [
                    models.UniqueConstraint(condition=models.Q(("state", "current")), fields=("state",), name="edition_one_current")
                ],
            },
        ),
        migrations.CreateModel(
            name="Quarantined",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "trace_key", "event_id", "project_id", "edition", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("edition", models.SmallIntegerField()),
                ("project_id", models.IntegerField()),
                ("trace_key", models.UUIDField()),
                ("event_id", models.UUIDField()),
                ("bucket", models.IntegerField()),
                ("batch_no", models.BigIntegerField()),
                ("received_at", models.DateTimeField()),
                ("code", models.CharField(max_length=64)),
            ],
            options={
                "db_table": "quarantined",
                "db_table_comment": "derived",
                "indexes": [models.Index(fields=["project_id", "edition", "-received_at"], name="quarantined_by_time")],
            },
        ),
        migrations.CreateModel(
            name="Session",
            fields=[
                ("pk", models.CompositePrimaryKey("key", "edition", blank=True, editable=False, primary_key=True, serialize=False)),
                ("edition", models.SmallIntegerField()),
                ("key", models.CharField(max_length=26)),
                ("project_id", models.IntegerField()),
                ("session_id", models.BinaryField()),
                ("declared", models.BooleanField()),
                ("traces", models.IntegerField()),
                ("started_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("sort_at", models.DateTimeField()),
                ("stale_since", models.DateTimeField(null=True)),
                ("summarised_at", models.DateTimeField(null=True)),
                ("summary_seconds", models.FloatField(db_default=0)),
                ("agent_name", models.TextField(null=True)),
                ("agent_version", models.TextField(null=True)),
                ("opening", models.TextField(db_default="")),
                ("totals", models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict)),
                ("verdict", models.CharField(max_length=16, null=True)),
                ("gaps", models.IntegerField(db_default=0)),
                ("findings", models.JSONField(db_default=models.Value([], models.JSONField()), default=list)),
                ("last_action", models.JSONField(null=True)),
                ("error", models.TextField(db_default="")),
            ],
            options={
                "db_table": "session",
                "db_table_comment": "derived",
                "indexes": [
                    models.Index(fields=["project_id", "edition", "-sort_at", "-key"], name="session_by_time"),
                    models.Index(
                        condition=models.Q(("stale_since__isnull", False)), fields=["edition", "stale_since"], name="session_stale"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Trace",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "trace_key", "project_id", "edition", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("edition", models.SmallIntegerField()),
                ("project_id", models.IntegerField()),
                ("trace_key", models.UUIDField()),
                ("trace_id", models.BinaryField(null=True)),
                ("own_key", models.CharField(max_length=26)),
                ("session_key", models.CharField(max_length=26)),
                ("buckets", django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), size=None)),
                ("first_at", models.DateTimeField(null=True)),
                ("last_at", models.DateTimeField(null=True)),
                ("received_first", models.DateTimeField()),
                ("received_last", models.DateTimeField()),
            ],
            options={
                "db_table": "trace",
                "db_table_comment": "derived",
                "indexes": [
                    models.Index(fields=["session_key", "edition"], name="trace_session"),
                    models.Index(fields=["trace_id", "project_id", "edition"], name="trace_trace_id"),
                    models.Index(fields=["own_key", "edition"], name="trace_own_key"),
                ],
            },
        ),
        migrations.RunSQL("INSERT INTO edition (number, state) VALUES (1, 'current')", reverse_sql=migrations.RunSQL.noop),
    ]
