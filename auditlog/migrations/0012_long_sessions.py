"""Sessions that lasted longer than a day: few, and what a search within a range of time has to know of before it reads no further back."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0011_words"),
    ]

    operations = [
        # Not in the model: Django would write the condition with a sum, which is no constant expression for PostgreSQL.
        migrations.RunSQL(
            "CREATE INDEX session_long ON session (project_id, edition, ended_at) INCLUDE (sort_at) "
            "WHERE ended_at - sort_at > interval '1 day'",
            reverse_sql="DROP INDEX session_long",
        ),
    ]
