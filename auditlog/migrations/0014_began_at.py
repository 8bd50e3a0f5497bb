"""When its session began, beside each call, value and amount: those of a range of time are found without the sessions of all time.

The pass of the code before cannot write these tables any more; what it leaves undone the new one does. Nothing is lost by that. Pages that
show calls wait meanwhile (5 s for 435,000 values with their calls and amounts); ingest does not. VACUUM the three tables afterwards.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0013_saved_searches"),
    ]

    operations = [
        # In the order in which pages read them, and all before any is changed: a search that holds one would wait for another for ever.
        migrations.RunSQL(
            "SET LOCAL lock_timeout = '60s'; LOCK TABLE action_value, action_amount, action IN ACCESS EXCLUSIVE MODE",
            reverse_sql=migrations.RunSQL.noop,
        ),
        migrations.RemoveIndex("actionvalue", "action_value_digest"),
        migrations.RemoveIndex("actionamount", "action_amount_amount"),
        *(migrations.AddField(name, "began_at", models.DateTimeField(null=True)) for name in ("action", "actionvalue", "actionamount")),
        *(
            migrations.RunSQL(
                f"UPDATE {table} t SET began_at = s.sort_at FROM session s WHERE s.key = t.session_key AND s.edition = t.edition",
                reverse_sql=migrations.RunSQL.noop,
                elidable=True,
            )
            for table in ("action", "action_value", "action_amount")
        ),
        # Rows without a session are left over from an edition that was given up, and wait to be removed.
        *(
            migrations.RunSQL(f"DELETE FROM {table} WHERE began_at IS NULL", reverse_sql=migrations.RunSQL.noop, elidable=True)
            for table in ("action", "action_value", "action_amount")
        ),
        *(migrations.AlterField(name, "began_at", models.DateTimeField()) for name in ("action", "actionvalue", "actionamount")),
        migrations.AddIndex("actionvalue", models.Index(fields=["digest", "edition", "began_at"], name="action_value_digest")),
        migrations.AddIndex(
            "actionamount", models.Index(fields=["amount", "project_id", "edition", "began_at"], name="action_amount_amount")
        ),
    ]
