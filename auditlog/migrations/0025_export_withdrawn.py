"""By which request of erasure the files of an export were removed before their time."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0024_restricted"),
    ]
    operations = [
        migrations.RunSQL("ALTER TABLE export_job ADD COLUMN withdrawn_by bigint", reverse_sql=migrations.RunSQL.noop),
    ]
