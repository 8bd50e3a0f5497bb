"""Words are indexed by units of our own, with their texts beside them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0010_pins"),
    ]

    operations = [
        migrations.AddField("searchtext", "texts", models.BinaryField(null=True)),
        # Every session is indexed once more, in the background: the newest first, and all of them behind whatever comes in meanwhile,
        # whose due time is not a hundred years from now. Until then the words of before find it.
        migrations.RunSQL(
            "UPDATE session SET text_due = now() + interval '100 years' + (now() - sort_at) WHERE text_due IS NULL",
            reverse_sql=migrations.RunSQL.noop,
            elidable=True,
        ),
    ]
