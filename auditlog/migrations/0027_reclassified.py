"""The table of what is kept as a longer class says, as `auditlog/store/reclassified.sql` writes it."""

from pathlib import Path

from django.db import migrations

RECLASSIFIED = Path(__file__).resolve().parent.parent / "store" / "reclassified.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0026_ask_purpose"),
    ]
    operations = [migrations.RunSQL(RECLASSIFIED.read_text(), reverse_sql=migrations.RunSQL.noop)]
