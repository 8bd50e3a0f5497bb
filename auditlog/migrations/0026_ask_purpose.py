"""Whether a project asks for a purpose before content is shown."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0025_export_withdrawn"),
    ]
    operations = [
        migrations.AddField("project", "ask_purpose", models.BooleanField(db_default=False, default=False)),
    ]
