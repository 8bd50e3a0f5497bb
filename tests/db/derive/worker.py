"""Owns a process that runs the pass for a test which kills it: it says every statement on its standard output."""

from __future__ import annotations

import sys
from typing import Any

import psycopg

from auditlog.derive.consume import Pass, declaring
from auditlog.derive.summary import summarise
from auditlog.derive.text import Texts, index_texts
from auditlog.derive.timeline import Timelines
from auditlog.store.connect import connect
from auditlog.store.reader import Reader


def main(secret: bytes) -> None:
    execute = psycopg.Connection.execute

    def told(self: psycopg.Connection[Any], *args: Any, **kwargs: Any) -> Any:
        sys.stdout.write("statement\n")
        sys.stdout.flush()
        return execute(self, *args, **kwargs)

    psycopg.Connection.execute = told  # type: ignore[method-assign]
    with connect("derive", autocommit=True) as conn:
        reader = Reader(conn, lambda _: secret)
        work, timelines, texts = Pass(conn, declaring(reader)), Timelines(reader), Texts()
        while work.step() or summarise(conn, work.edition, timelines, texts) or index_texts(conn, work.edition, texts, timelines):
            pass


if __name__ == "__main__":
    main(bytes.fromhex(sys.argv[2]))
