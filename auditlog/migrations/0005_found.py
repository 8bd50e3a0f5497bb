"""Owns the tables by which sessions and actions are found: actions and their values and amounts, terms, versions, words."""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0004_login_failures"),
    ]

    operations = [
        migrations.CreateModel(
            name="Action",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "session_key", "step", "edition", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("edition", models.SmallIntegerField()),
                ("project_id", models.IntegerField()),
                ("session_key", models.CharField(max_length=26)),
                ("step", models.IntegerField()),
                ("tool", models.TextField()),
                ("tool_digest", models.UUIDField()),
                ("call_id", models.TextField(null=True)),
                ("outcome", models.CharField(max_length=8)),
                ("occurred_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("sort_at", models.DateTimeField()),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("currency", models.CharField(max_length=3, null=True)),
                ("object", models.TextField(null=True)),
                ("event_ids", models.JSONField(default=list)),
                ("digest", models.UUIDField()),
            ],
            options={
                "db_table": "action",
                "db_table_comment": "derived",
            },
        ),
        migrations.CreateModel(
            name="ActionAmount",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "session_key", "step", "n", "edition", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("edition", models.SmallIntegerField()),
                ("project_id", models.IntegerField()),
                ("session_key", models.CharField(max_length=26)),
                ("step", models.IntegerField()),
                ("n", models.SmallIntegerField()),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
                ("currency", models.CharField(max_length=3, null=True)),
                ("side", models.CharField(max_length=9)),
                ("pointer", models.TextField()),
            ],
            options={
                "db_table": "action_amount",
                "db_table_comment": "derived",
            },
        ),
        migrations.CreateModel(
            name="ActionValue",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "session_key", "step", "n", "edition", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("edition", models.SmallIntegerField()),
                ("project_id", models.IntegerField()),
                ("session_key", models.CharField(max_length=26)),
                ("step", models.IntegerField()),
                ("n", models.SmallIntegerField()),
                ("digest", models.UUIDField()),
                ("side", models.CharField(max_length=9)),
                ("pointer", models.TextField()),
            ],
            options={
                "db_table": "action_value",
                "db_table_comment": "derived",
            },
        ),
        migrations.CreateModel(
            name="SearchText",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "session_key", "n", "edition", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("edition", models.SmallIntegerField()),
                ("project_id", models.IntegerField()),
                ("session_key", models.CharField(max_length=26)),
                ("n", models.IntegerField()),
                ("digest", models.UUIDField()),
                ("tsv", django.contrib.postgres.search.SearchVectorField()),
            ],
            options={
                "db_table": "search_text",
                "db_table_comment": "derived",
            },
        ),
        migrations.CreateModel(
            name="SessionTerm",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "session_key", "digest", "edition", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("edition", models.SmallIntegerField()),
                ("project_id", models.IntegerField()),
                ("session_key", models.CharField(max_length=26)),
                ("kind", models.CharField(max_length=16)),
                ("digest", models.UUIDField()),
                ("seen_at", models.DateTimeField()),
            ],
            options={
                "db_table": "session_term",
                "db_table_comment": "derived",
            },
        ),
        migrations.CreateModel(
            name="Version",
            fields=[
                ("pk", models.CompositePrimaryKey("digest", "edition", blank=True, editable=False, primary_key=True, serialize=False)),
                ("edition", models.SmallIntegerField()),
                ("project_id", models.IntegerField()),
                ("kind", models.CharField(max_length=16)),
                ("digest", models.UUIDField()),
                ("version", models.CharField(max_length=64)),
                ("name", models.TextField()),
                ("first_seen", models.DateTimeField()),
                ("last_seen", models.DateTimeField()),
            ],
            options={
                "db_table": "version",
                "db_table_comment": "derived",
            },
        ),
        migrations.AddField(
            model_name="project",
            name="text_index",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AddField(
            model_name="session",
            name="cost_usd",
            field=models.DecimalField(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name="session",
            name="cut",
            field=models.TextField(db_default=""),
        ),
        migrations.AddField(
            model_name="session",
            name="model_calls",
            field=models.IntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="session",
            name="text_due",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="session",
            name="tool_calls",
            field=models.IntegerField(db_default=0),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(condition=models.Q(("text_due__isnull", False)), fields=["edition", "text_due"], name="session_text_due"),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                condition=models.Q(("cost_usd__isnull", False)), fields=["cost_usd", "project_id", "edition"], name="session_cost"
            ),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(fields=["tool_calls", "project_id", "edition"], name="session_tool_calls"),
        ),
        migrations.AddIndex(
            model_name="action",
            index=models.Index(fields=["project_id", "edition", "-sort_at", "-session_key", "-step"], name="action_by_time"),
        ),
        migrations.AddIndex(
            model_name="action",
            index=models.Index(fields=["tool_digest", "edition", "-sort_at"], name="action_tool"),
        ),
        migrations.AddIndex(
            model_name="actionamount",
            index=models.Index(fields=["amount", "project_id", "edition"], name="action_amount_amount"),
        ),
        migrations.AddIndex(
            model_name="actionvalue",
            index=models.Index(fields=["digest", "edition"], name="action_value_digest"),
        ),
        migrations.AddIndex(
            model_name="searchtext",
            index=django.contrib.postgres.indexes.GinIndex(fields=["tsv"], name="search_text_tsv"),
        ),
        migrations.AddIndex(
            model_name="sessionterm",
            index=models.Index(fields=["digest", "edition", "seen_at"], name="session_term_digest"),
        ),
        migrations.AddIndex(
            model_name="version",
            index=models.Index(fields=["project_id", "kind", "edition", "-last_seen"], name="version_by_time"),
        ),
        # What was summarised before knows none of these tables: every session is summarised once more, in the background.
        migrations.RunSQL(
            "UPDATE session SET stale_since = now() WHERE stale_since IS NULL", reverse_sql=migrations.RunSQL.noop, elidable=True
        ),
    ]
