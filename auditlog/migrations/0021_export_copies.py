"""Where an export was copied to, so that it is taken away there, too, when it expires."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0020_erasure"),
    ]
    operations = [
        migrations.RunSQL("ALTER TABLE export_job ADD COLUMN copied_to text NOT NULL DEFAULT ''", reverse_sql=migrations.RunSQL.noop),
    ]
