"""Owns the measurement of reading: server time, database time, queries and bytes of each page and list among many stored events.

    python -m bench.read [--events 1000000] [--runs 100] [--data FOLDER] [--only WORD] [--json out.json]

Loads and derives first (bench.stored), unless --data names a folder that a run before has filled. Then asks Django itself, in this
process and as the role of the pages: server time is from the request's arrival at Django to the last byte of the answer, without the
network; database time is what psycopg waited. Each question is asked about other sessions, customers, days and words every time.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import stored
from bench.counted import million_additions
from bench.generate import Text
from tests.asked import asked

FIRST_DAY = datetime.fromtimestamp(stored.FIRST_NS // 10**9, UTC)
CONTENT = re.compile(rb"<main id=\"main\">.*</main>", re.DOTALL)


class Questions:
    """What is asked: a path for each name, another one every time."""

    def __init__(self, sessions: int, seed: int = 5) -> None:
        from django.db import connection

        self.rng = random.Random(seed)
        self.text = Text(self.rng)
        self.sessions = sessions
        with connection.cursor() as cursor:
            self.cursor = cursor
            self.keys = self._rows("SELECT key FROM session ORDER BY md5(key) LIMIT 300")
            declared = "SELECT min(convert_from(value, 'UTF8')) FROM declared WHERE kind = '%s' GROUP BY digest ORDER BY digest LIMIT 300"
            self.customers, self.users = self._rows(declared % "customer"), self._rows(declared % "user")
            self.values = self._rows("SELECT object FROM action WHERE object LIKE 'cr_%' ORDER BY md5(object) LIMIT 300")
            self.ten = self._rows("SELECT key FROM session WHERE tool_calls = 9 AND model_calls = 10 ORDER BY md5(key) LIMIT 100")
            self.twenty = self._rows("SELECT key FROM session WHERE tool_calls = 19 AND model_calls = 20 ORDER BY md5(key) LIMIT 100")
            self.long = self._rows("SELECT key FROM session WHERE model_calls = 150")
            self.endless = self._rows("SELECT key FROM session ORDER BY tool_calls DESC LIMIT 1")
            self.events: list[str] = []

    def _rows(self, query: str) -> list[str]:
        self.cursor.execute(query)
        return [str(row[0]) for row in self.cursor.fetchall()] or ["none"]

    def any(self, among: list[str]) -> str:
        return self.rng.choice(among)

    def range(self, days: int) -> str:
        start = FIRST_DAY + timedelta(days=self.rng.randrange(stored.DAYS - days))
        return f"from={start:%Y-%m-%d}&to={start + timedelta(days=days):%Y-%m-%d}"

    def deep(self) -> str:
        from auditlog.search import cursor

        return cursor.encode(FIRST_DAY + timedelta(days=stored.DAYS * self.rng.random() * 0.8), "k")

    def words(self, rank: range) -> str:
        return " ".join(self.text._words[self.rng.choice(rank)] for _ in "ab")

    def event(self) -> str:
        if not self.events:
            from auditlog.derive.models import Action

            self.events = [row.event_ids[0] for row in Action.objects.filter(session_key__in=self.keys)[:300] if row.event_ids]
        return self.any(self.events)


def questions(q: Questions) -> dict[str, Callable[[], str]]:
    return {
        "search, no filter": lambda: "/",
        "search, deep cursor": lambda: f"/?range=all&cursor={q.deep()}",
        "search, counted": lambda: "/?range=all&facets=1",
        "search by customer": lambda: f"/?customer_id={q.any(q.customers)}",
        "search by customer, 30 days": lambda: f"/?customer_id={q.any(q.customers)}&{q.range(30)}",
        "search by user": lambda: f"/?user_id={q.any(q.users)}",
        "search by session": lambda: f"/?session_id=sess-{q.rng.randrange(q.sessions):08d}",
        "search by agent": lambda: f"/?agent=support-agent-{q.rng.randrange(40)}",
        "search by agent, 7 days": lambda: f"/?agent=support-agent-{q.rng.randrange(40)}&{q.range(7)}",
        "search by amount = 400, 30 days": lambda: f"/?amount_min=400&amount_max=400&{q.range(30)}",
        "search by amount ≥ 400, 30 days": lambda: f"/?amount_min=400&{q.range(30)}",
        "search by amount from 100 to 105, 30 days": lambda: f"/?amount_min=100&amount_max=105&{q.range(30)}",
        "search by amount ≥ 800 and tool, 7 days": lambda: f"/?amount_min=800&tool=issue_credit&{q.range(7)}",
        "search by value": lambda: f"/?value={q.any(q.values)}",
        "search by value in half of all, 30 days": lambda: f"/?value=late&{q.range(30)}",
        "search box, an ID": lambda: f"/?q={q.any(q.customers)}",
        "search box, two words": lambda: f"/?q={q.words(range(300, 3000))}",
        "search box, two common words, 7 days": lambda: f"/?q={q.words(range(10, 54))}&{q.range(7)}",
        "search box, two common words": lambda: f"/?q={q.words(range(10, 54))}",
        "search box, a word nobody said": lambda: "/?q=qqzzxx",
        "decision, 10 turns": lambda: f"/sessions/{q.any(q.ten)}",
        "decision, 20 turns": lambda: f"/sessions/{q.any(q.twenty)}",
        "decision, 301 steps": lambda: f"/sessions/{q.long[0]}",
        "decision, 30,000 events, any page": lambda: f"/sessions/{q.endless[0]}?page={q.rng.randrange(1, 160)}",
        "why, 20 turns": lambda: f"/sessions/{q.any(q.twenty)}/why/{2 * q.rng.randrange(1, 20)}",
        "event": lambda: f"/events/{q.event()}",
        "API sessions by customer": lambda: f"/api/v1/sessions?customer_id={q.any(q.customers)}",
        "API actions": lambda: "/api/v1/actions",
        "API actions by customer and amount": lambda: f"/api/v1/actions?customer_id={q.any(q.customers)}&amount_min=100",
        "API actions by tool and amount, 7 days": lambda: f"/api/v1/actions?tool=issue_credit&amount_min=400&{q.range(7)}",
        "API timeline, 20 turns": lambda: f"/api/v1/sessions/{q.any(q.twenty)}/timeline",
        "API timeline, 30,000 events": lambda: f"/api/v1/sessions/{q.endless[0]}/timeline",
    }


def measured(client: Any, ask: Callable[[], str], runs: int) -> dict[str, Any]:
    """One line of the table."""
    whole, database, own, count, size, shell, failed = [], [], [], set(), [], 0, 0
    for number in range(runs + 3):
        path = ask()
        gc.collect()
        with asked() as statements:
            began, used = time.perf_counter(), time.process_time()
            content = (answer := client.get(path)).content
            seconds, used = time.perf_counter() - began, time.process_time() - used
        if number < 3:
            continue  # compiling templates, opening connections
        failed += answer.status_code != 200
        whole.append(seconds * 1000)
        database.append(statements.seconds * 1000)
        own.append(used * 1000)
        count.add(len(statements))
        size.append(len(content))
        shell = len(CONTENT.sub(b"", content))
        if seconds > 12:
            break
    asked_often = f"{min(count)}–{max(count)}" if len(count) > 1 else str(min(count))
    return {
        **{f"{name}_{p}": percentile(found, p) for name, found in (("ms", whole), ("database", database), ("cpu", own)) for p in (50, 95)},
        "queries": asked_often, "shell_bytes": shell, "bytes": round(statistics.median(size)), "failed": failed,
    }  # fmt: skip


def percentile(found: list[float], p: int) -> float:
    return round(sorted(found)[int(len(found) * p / 100)], 1)


def table(results: dict[str, dict[str, Any]]) -> str:
    head = ("question", "p50 ms", "p95 ms", "database p50", "p95", "CPU of Python p50", "queries", "KB around content", "KB")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, one in results.items():
        cells = [name + (f" ({one['failed']} failed)" if one["failed"] else ""), *(one[key] for key in ("ms_50", "ms_95", "database_50"))]
        cells += [one["database_95"], one["cpu_50"], one["queries"], f"{one['shell_bytes'] / 1000:.1f}", f"{one['bytes'] / 1000:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def yardstick(conn: Any) -> dict[str, float]:
    """What tells one machine from another, in milliseconds: CPU of a million additions, and a question that asks nothing."""
    questions = []
    for _ in range(9):
        began = time.perf_counter()
        for _ in range(100):
            conn.execute("SELECT 1").fetchone()
        questions.append((time.perf_counter() - began) * 10)
    return {"million_additions": million_additions(), "question": round(statistics.median(questions), 3)}


def client_of_an_operator() -> Any:
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(get_user_model().objects.get(username="operator"))
    return client


def run(folder: Path, events: int, runs: int, only: str) -> dict[str, Any]:
    import django

    django.setup()
    from auditlog import models
    from auditlog.secrets import unwrap
    from auditlog.store.connect import connect
    from auditlog.store.writer import Project

    project = models.Project.objects.get()
    told: dict[str, Any] = {}
    with connect("owner", autocommit=True) as conn:
        if not stored.count(conn, "batch"):
            told = stored.fill(Project(project.pk, unwrap(project.secret_wrapped), 1, "month"), events)
        told["yardstick_ms"] = yardstick(conn)
        told |= {name: stored.count(conn, name) for name in ("event", "session", "action", "action_value", "action_amount", "session_term")}
        row = conn.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row
        told["database_gib"] = round(row[0] / 2**30, 1)
    print(json.dumps(told), flush=True)
    asked_of = questions(Questions(told["session"]))
    client = client_of_an_operator()
    results = {}
    for name, ask in asked_of.items():
        if only in name:
            results[name] = measured(client, ask, runs)
            print(name, results[name], flush=True)
    return {"stored": told, "results": results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--json")
    given = parser.parse_args()
    folder = given.data or Path(tempfile.mkdtemp(prefix="auditlog-read-"))
    server = stored.start(folder)
    try:
        found = run(folder, given.events, given.runs, given.only)
    finally:
        server.stop()
        if given.data is None:
            shutil.rmtree(folder, ignore_errors=True)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"\n{machine}; {found['stored']['event']:,} events, {found['stored']['session']:,} sessions; {given.runs} runs each\n")
    print(table(found["results"]))
    if given.json:
        Path(given.json).write_text(json.dumps({"machine": machine, **found}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
