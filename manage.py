#!/usr/bin/env python
"""Owns the command line: chooses the database role that a command works as, then hands over to Django."""

import os
import sys

# Commands that change the schema or the roles work as the owner; everything else gets the rights of the pages.
OWNER_COMMANDS = {
    "migrate", "setup", "makemigrations", "sqlmigrate", "showmigrations", "createcachetable", "flush", "dbshell", "test", "citus_setup",
}  # fmt: skip
ROLES = {"derive": "derive"}


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    role = "owner" if command in OWNER_COMMANDS else ROLES.get(command, "web")
    os.environ.setdefault("AUDITLOG_DATABASE_ROLE", role)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "auditlog.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
