"""Who did what with evidence, found by person, action, object and time."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.manager
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0017_retention"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccessLog",
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
                ("at", models.DateTimeField()),
                ("action", models.TextField()),
                ("actor_kind", models.TextField()),
                ("actor_id", models.TextField()),
                ("actor_name", models.TextField()),
                ("objects", django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), size=None)),
                ("purpose", models.TextField()),
            ],
            options={
                "db_table": "access_log",
                "db_table_comment": "derived",
                "default_manager_name": "rows",
                "indexes": [
                    models.Index(fields=["project_id", "edition", "at"], name="access_log_at"),
                    models.Index(fields=["actor_name", "project_id", "edition", "at"], name="access_log_actor"),
                    models.Index(fields=["actor_id", "project_id", "edition", "at"], name="access_log_actor_id"),
                    models.Index(fields=["action", "project_id", "edition", "at"], name="access_log_action"),
                    django.contrib.postgres.indexes.GinIndex(fields=["objects"], name="access_log_objects"),
                ],
            },
            managers=[
                ("rows", django.db.models.manager.Manager()),
            ],
        ),
        # What was recorded before is consumed again, for this table alone: of such batches nothing else is derived.
        migrations.RunSQL(
            """
            UPDATE tally t SET batches = t.batches - c.batches FROM (
              SELECT d.edition, b.project_id, count(*) AS batches FROM derived d JOIN batch b USING (batch_no)
              WHERE b.protocol = 5 GROUP BY 1, 2) c
            WHERE c.edition = t.edition AND c.project_id = t.project_id;
            DELETE FROM derived d USING batch b WHERE b.batch_no = d.batch_no AND b.protocol = 5;
            UPDATE edition SET watermark = 0;
            """,
            reverse_sql=migrations.RunSQL.noop,
        ),
    ]
