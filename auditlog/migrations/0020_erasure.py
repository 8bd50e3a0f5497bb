"""The tables of requests of erasure, as `auditlog/store/erasure.sql` writes them."""

from pathlib import Path

from django.db import migrations

ERASURE = Path(__file__).resolve().parent.parent / "store" / "erasure.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0019_disclosure"),
    ]
    operations = [migrations.RunSQL(ERASURE.read_text(), reverse_sql=migrations.RunSQL.noop)]
