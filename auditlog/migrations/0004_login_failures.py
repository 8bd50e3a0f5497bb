"""Owns the table of failed logins."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0003_derived"),
    ]

    operations = [
        migrations.CreateModel(
            name="LoginFailure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("account", models.BinaryField()),
                ("address", models.GenericIPAddressField(null=True)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "db_table": "login_failure",
                "indexes": [
                    models.Index(fields=["account", "at"], name="login_failure_account"),
                    models.Index(fields=["address", "at"], name="login_failure_address"),
                ],
            },
        ),
    ]
