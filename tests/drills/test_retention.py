"""Owns the drill of holds against a scheduled deletion: placed while it runs, under load, the deletion killed again and again."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from auditlog import keys
from auditlog.store import partitions
from auditlog.store.writer import Project, Writer
from tests.db.api.talks import talk
from tests.drills.invariants import hold
from tests.drills.stand import Stand, batch
from tests.service import ROOT

CLASS, SESSIONS, KILLS = 8, 60, 6
_COUNTS = "SELECT count(*) FROM event WHERE project_id = %s AND trace_key = %s AND item = 1"
# The transaction that lets evidence go stands still before it ends, so that holds come in the middle of it.
_SLOW = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NEW; END $$;
    CREATE TRIGGER slow AFTER UPDATE ON disposition FOR EACH ROW WHEN (NEW.state = 'executed') EXECUTE FUNCTION slow()"""


class Past:
    """A project whose evidence of four days ago is due, sessions of three events, and a key that may hold."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        stand.execute(
            "INSERT INTO retention_class (class_no, version, name, days, basis, created_by, in_force_at) "
            """VALUES (%s, 1, 'A day', 1, 'none', '{"kind": "shell", "id": "drill", "name": "drill"}', now())""", CLASS,
        )  # fmt: skip
        ((self.id,),) = stand.execute(
            "INSERT INTO project (name, slug, secret_wrapped, class_no, period, created_at) "
            "SELECT 'past', 'past', secret_wrapped, %s, 'day', now() FROM project LIMIT 1 RETURNING id", CLASS,
        )  # fmt: skip
        made = keys.make()
        self.key = made.text
        stand.execute(
            "INSERT INTO api_key (public_id, project_id, name, scopes, secret_digest, created_at) "
            "VALUES (%s, %s, 'past', '{read,admin}', %s, now())", made.public_id, self.id, made.digest,
        )  # fmt: skip
        with psycopg.connect(stand.url, autocommit=True) as conn:
            project = Project(self.id, stand.secrets(conn)(self.id), CLASS, "day", 1)
        at = datetime.now(UTC) - timedelta(days=4)
        writer = Writer(lambda: psycopg.connect(stand.url, autocommit=True))
        for number in range(SESSIONS):
            writer.write(project, talk(f"past-{number}", 2), key_id=None, protocol=1, received_at=at)
        writer.close()
        self.bucket = partitions.bucket_at(CLASS, "day", at).number

    def events(self, number: int) -> int:
        trace = f"past-{number}".encode().rjust(16, b"\1")[-16:].hex()
        return int(self.stand.execute(_COUNTS, self.id, trace)[0][0])

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.stand.service.http}/api/v1/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, None

    def dispose(self, *what: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(ROOT / "manage.py"), "dispose", *what, "--by", "operator"]
        return subprocess.Popen(command, cwd=ROOT, env=self.stand.service.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def gone(self, kills: int, chance: random.Random) -> None:
        """Proposed and executed, killed so often at random moments; derived data is waited for."""
        made = re.search(r"Disposition (\d+) is proposed", self.said("--propose", str(self.bucket)))
        assert made is not None
        while True:
            running = self.dispose("--execute", made[1])
            try:
                said, _ = running.communicate(timeout=chance.uniform(0.5, 6) if kills > 0 else 120)
            except subprocess.TimeoutExpired:
                running.kill()
                running.communicate()
                kills -= 1
                continue
            if running.returncode == 0:
                return
            hold("derive_behind" in said or "background pass" in said or "Try again" in said, f"the deletion ended: {said[-500:]}")
            time.sleep(0.3)

    def said(self, *what: str) -> str:
        running = self.dispose(*what)
        said, _ = running.communicate(timeout=60)
        assert running.returncode == 0, said
        return said


class Holder(threading.Thread):
    """Places holds on sessions at random moments; notes of each how many events it had when the hold was answered."""

    def __init__(self, past: Past, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.past, self.chance, self.over = past, chance, threading.Event()
        self.held: dict[int, int] = {}
        self.holds: list[str] = []

    def run(self) -> None:
        for number in self.chance.sample(range(SESSIONS), SESSIONS // 2):
            if self.over.wait(self.chance.uniform(0.05, 0.8)):
                return
            status, made = self.past.ask("POST", "holds", {"name": "drill", "reason": "drill", "scope": {"session_id": f"past-{number}"}})
            if status == 200:
                self.held[number] = self.past.events(number)
                self.holds.append(made["id"])


@pytest.mark.drill("purge", long=True)
def test_a_hold_that_is_placed_while_evidence_is_deleted_keeps_it_or_comes_after_it(stand: Stand, told: Any) -> None:
    past, chance = Past(stand), random.Random(7)
    stand.derived()
    stand.execute(_SLOW)
    holder = Holder(past, chance)
    try:
        with stand.load(2, lambda: batch(20)):
            holder.start()
            past.gone(KILLS, chance)
        holder.over.set()
        holder.join(60)
        before = {number: count for number, count in holder.held.items() if count}
        lost = [number for number, count in before.items() if past.events(number) != count]
        hold(not lost, f"{len(lost)} of {len(before)} sessions lost records that were held and there when the hold was answered")
        kept = sum(past.events(number) > 0 for number in range(SESSIONS))
        told(f"{len(holder.held)} holds placed, {len(before)} before their session was gone, {kept} sessions kept of {SESSIONS}")
    finally:
        stand.execute("DROP TRIGGER IF EXISTS slow ON disposition")
        stand.execute("DROP FUNCTION IF EXISTS slow()")
    for number in holder.holds:
        assert past.ask("POST", f"holds/{number}", {"release_reason": "over"})[0] == 200
    if kept:
        past.gone(0, chance)
    left = stand.execute("SELECT count(*) FROM event WHERE bucket = %s", past.bucket)
    hold(left == [(0,)], f"{left} records are left that nobody holds")
    stand.check()
