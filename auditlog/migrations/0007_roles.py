"""The roles as groups, and a membership for the operators that there are. Apart from 0006, whose foreign keys come at its end."""

from typing import Any

from django.db import migrations

ROLES = ("viewer", "investigator", "compliance", "examiner", "admin")


def fill(apps: Any, _editor: Any) -> None:
    """Before this, an active superuser saw the oldest project: so it stays."""
    group, member = apps.get_model("auth", "Group"), apps.get_model("auditlog", "Member")
    roles = {name: group.objects.get_or_create(name=name)[0] for name in ROLES}
    project = apps.get_model("auditlog", "Project").objects.order_by("pk").first()
    if project is not None:
        for user in apps.get_model("auth", "User").objects.filter(is_superuser=True, is_active=True):
            member.objects.create(user=user, project=project).groups.set([roles["admin"], roles["investigator"]])


class Migration(migrations.Migration):
    dependencies = [
        ("auditlog", "0006_members"),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
