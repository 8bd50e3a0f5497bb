"""The digests of a part's events, kept for proofs. Batches that were consumed before get theirs with the next rebuild."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0028_ranges"),
    ]

    operations = [
        migrations.CreateModel(
            name="PartLeaves",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "batch_no", "bucket", "edition", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("edition", models.SmallIntegerField()),
                ("batch_no", models.BigIntegerField()),
                ("bucket", models.IntegerField()),
                ("digests", models.BinaryField()),
            ],
            options={"db_table": "part_leaves", "db_table_comment": "derived"},
        ),
        # Digests cannot be compressed.
        migrations.RunSQL("ALTER TABLE part_leaves ALTER COLUMN digests SET STORAGE EXTERNAL", reverse_sql=migrations.RunSQL.noop),
    ]
