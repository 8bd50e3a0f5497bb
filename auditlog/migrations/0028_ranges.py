"""The function that sums up the index by batch number, as `auditlog/store/ranges.sql` writes it."""

from pathlib import Path

from django.db import migrations

RANGES = Path(__file__).resolve().parent.parent / "store" / "ranges.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0027_reclassified"),
    ]
    operations = [migrations.RunSQL(RANGES.read_text(), reverse_sql=migrations.RunSQL.noop)]
