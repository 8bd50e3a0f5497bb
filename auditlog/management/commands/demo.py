"""Owns `manage.py demo`: sends the demo sessions through the OTLP port, with the first ingest key, as any exporter would."""

from __future__ import annotations

import http.client
import json
import logging
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from auditlog import conf
from auditlog.demo import build
from auditlog.platform import first_run, roster

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Sends the demo sessions to the running service. Sending them again stores nothing twice."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        facts = first_run.read(conf.get("AUDITLOG_DATA"))
        if facts is None:
            raise CommandError(f"{first_run.FILE} is not in AUDITLOG_DATA: the demo needs the ingest key that the first start wrote there.")
        host, port = conf.get("AUDITLOG_OTLP_HTTP")
        connection = http.client.HTTPConnection(roster.reached(host), port, timeout=30)
        headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip", "authorization": f"Bearer {facts['ingest_key']}"}
        manifest = json.loads((build.SESSIONS / "manifest.json").read_text())
        for entry in manifest:
            connection.request("POST", entry["path"], (build.SESSIONS / entry["file"]).read_bytes(), headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200 or body:  # a body would be a partial success: something was not understood
                raise CommandError(f"{entry['file']} was answered {answer.status}: {body[:300]!r}")
        connection.close()
        logger.info("demo.sent", extra={"requests": len(manifest)})
