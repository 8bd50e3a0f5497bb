"""The evidence tables, as `auditlog/store/schema.sql` writes them."""

from pathlib import Path

from django.db import migrations

SCHEMA = Path(__file__).resolve().parent.parent / "store" / "schema.sql"


class Migration(migrations.Migration):
    initial = True
    operations = [migrations.RunSQL(SCHEMA.read_text(), reverse_sql=migrations.RunSQL.noop)]
