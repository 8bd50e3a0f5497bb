"""The tables of retention, as `auditlog/store/retention.sql` writes them, and the class that a key may choose."""

from pathlib import Path

from django.db import migrations, models

RETENTION = Path(__file__).resolve().parent.parent / "store" / "retention.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0016_verification"),
    ]
    operations = [
        migrations.RunSQL(RETENTION.read_text(), reverse_sql=migrations.RunSQL.noop),
        migrations.AddField("apikey", "class_no", models.SmallIntegerField(blank=True, null=True)),
        migrations.AddConstraint(
            "apikey",
            models.CheckConstraint(condition=models.Q(("class_no", None), ("class_no__gte", 1), _connector="OR"), name="api_key_class_no"),
        ),
    ]
