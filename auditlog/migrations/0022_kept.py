"""The rules and clocks of retention classes, as `auditlog/store/kept.sql` writes them."""

from pathlib import Path

from django.db import migrations

KEPT = Path(__file__).resolve().parent.parent / "store" / "kept.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0021_export_copies"),
    ]
    operations = [migrations.RunSQL(KEPT.read_text(), reverse_sql=migrations.RunSQL.noop)]
