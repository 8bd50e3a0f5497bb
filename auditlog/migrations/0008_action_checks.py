"""What a call fails of what was offered, beside each action."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0007_roles"),
    ]

    operations = [
        migrations.AddField("action", "offered", models.BooleanField(null=True)),
        migrations.AddField("action", "arguments_valid", models.BooleanField(null=True)),
        # Every session is summarised once more, in the background: what was written before says nothing of this.
        migrations.RunSQL(
            "UPDATE session SET stale_since = now() WHERE stale_since IS NULL", reverse_sql=migrations.RunSQL.noop, elidable=True
        ),
    ]
