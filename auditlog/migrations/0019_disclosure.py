"""The tables of exports and releases, as `auditlog/store/disclosure.sql` writes them."""

from pathlib import Path

from django.db import migrations

DISCLOSURE = Path(__file__).resolve().parent.parent / "store" / "disclosure.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0018_access_log"),
    ]
    operations = [
        migrations.RunSQL(DISCLOSURE.read_text(), reverse_sql=migrations.RunSQL.noop),
    ]
