"""The table of what is restricted, as `auditlog/store/restricted.sql` writes it."""

from pathlib import Path

from django.db import migrations

RESTRICTED = Path(__file__).resolve().parent.parent / "store" / "restricted.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0023_erased_in_sessions"),
    ]
    operations = [migrations.RunSQL(RESTRICTED.read_text(), reverse_sql=migrations.RunSQL.noop)]
