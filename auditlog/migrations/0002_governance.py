"""The governance tables: projects, keys, jobs."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0001_evidence"),
    ]

    operations = [
        migrations.CreateModel(
            name="Job",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=63)),
                ("args", models.JSONField(default=dict)),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "Pending"), ("running", "Running"), ("done", "Done"), ("failed", "Failed")],
                        default="pending",
                        max_length=7,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("error", models.TextField(blank=True, default="")),
                ("result", models.JSONField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("due_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "db_table": "job",
                "indexes": [models.Index(condition=models.Q(("state__in", ["pending", "running"])), fields=["due_at"], name="job_open")],
            },
        ),
        migrations.CreateModel(
            name="Project",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("name", models.TextField()),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("secret_wrapped", models.BinaryField()),
                ("class_no", models.SmallIntegerField(default=1)),
                ("period", models.CharField(choices=[("month", "month"), ("day", "day")], default="month", max_length=5)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "db_table": "project",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("period__in", ["month", "day"])), name="project_period"),
                    models.CheckConstraint(condition=models.Q(("class_no__gte", 1)), name="project_class_no"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("public_id", models.CharField(max_length=12, unique=True)),
                ("name", models.TextField()),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[("ingest", "ingest"), ("read", "read"), ("export", "export"), ("admin", "admin")], max_length=16
                        ),
                        size=None,
                    ),
                ),
                ("secret_digest", models.BinaryField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("project", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="api_keys", to="auditlog.project")),
            ],
            options={
                "db_table": "api_key",
            },
        ),
    ]
