"""The timelines of long sessions, kept in pages."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0008_action_checks"),
    ]

    operations = [
        migrations.AddField("session", "parts", models.IntegerField(db_default=0)),
        migrations.CreateModel(
            name="TimelinePart",
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
                ("data", models.BinaryField()),
            ],
            options={"db_table": "timeline_part", "db_table_comment": "derived"},
        ),
        # Every session is summarised once more, in the background: what was written before kept none.
        migrations.RunSQL(
            "UPDATE session SET stale_since = now() WHERE stale_since IS NULL", reverse_sql=migrations.RunSQL.noop, elidable=True
        ),
    ]
