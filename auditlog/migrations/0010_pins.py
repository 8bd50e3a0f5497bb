"""Passages that people pinned."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("auditlog", "0009_timeline_parts"),
    ]

    operations = [
        migrations.CreateModel(
            name="Pin",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event", models.CharField(max_length=64)),
                ("call_id", models.TextField(db_default="")),
                ("prompt", models.CharField(max_length=64)),
                ("start", models.IntegerField()),
                ("end", models.IntegerField()),
                ("name", models.CharField(max_length=150)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("project", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="auditlog.project")),
                ("user", models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                "db_table": "pin",
                "constraints": [
                    models.UniqueConstraint(fields=("project", "event", "call_id", "prompt", "start"), name="pin_once"),
                ],
            },
        ),
    ]
