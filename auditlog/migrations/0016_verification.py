"""What verifications of the database found."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0015_log"),
    ]

    operations = [
        migrations.CreateModel(
            name="Verification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("scope", models.JSONField()),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("counts", models.JSONField(default=dict)),
                ("faults", models.JSONField(default=list)),
                ("fault_count", models.BigIntegerField(default=0)),
                ("log_size", models.BigIntegerField(blank=True, null=True)),
                ("log_root", models.BinaryField(blank=True, null=True)),
                ("progress", models.JSONField(blank=True, null=True)),
            ],
            options={"db_table": "verification"},
        ),
    ]
