"""By which erasures a session lost values, found from its traces: its page cites their certificates."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0022_kept"),
    ]
    operations = [
        migrations.RunSQL("CREATE INDEX erasure_item_of ON erasure_item (trace_key) WHERE erased > 0", reverse_sql=migrations.RunSQL.noop),
    ]
