"""The tables of the sealed log, as `auditlog/store/log.sql` writes them."""

from pathlib import Path

from django.db import migrations

LOG = Path(__file__).resolve().parent.parent / "store" / "log.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0014_began_at"),
    ]
    operations = [migrations.RunSQL(LOG.read_text(), reverse_sql=migrations.RunSQL.noop)]
