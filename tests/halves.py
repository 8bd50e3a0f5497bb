"""Owns how `make test` runs the suite: two pytest processes side by side, which take about as long: what mostly computes, and the others.

    python -m tests.halves [arguments of pytest]

Each process has a PostgreSQL, folders and ports of its own. A PostgreSQL that was given (AUDITLOG_TEST_DATABASE_URL or DATABASE_URL) is
one server with one set of roles: then the halves run one after the other. What the second half prints is shown when it ends, and the last
line adds the two up.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

TESTS: Final = Path(__file__).parent
COMPUTING: Final = ("tests/contract", "tests/db", "tests/shape", "tests/unit")


def others() -> list[str]:
    """Every other folder that holds tests: a new one is run without being named here."""
    folders = (f"tests/{path.name}" for path in sorted(TESTS.iterdir()) if any(path.glob("**/test_*.py")))
    return [folder for folder in folders if folder not in COMPUTING]


def start(folders: Iterable[str], output: IO[bytes] | int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest", *sys.argv[1:], *folders]
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def shown(output: Iterable[bytes]) -> str:
    """Passes on what pytest prints, and returns its last line."""
    last = b""
    for line in output:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        last = line
    return last.decode(errors="replace")


def closing(lines: Iterable[str], seconds: float) -> str:
    """The closing lines of several runs as one: `3199 passed, 1 failed in 331.20s`."""
    counts: Counter[str] = Counter()
    for line in lines:
        for count, outcome in re.findall(r"(\d+) (passed|failed|skipped|xfailed|xpassed|error|warning|deselected)", line):
            counts[outcome] += int(count)
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return f"= {told or 'no tests ran'} in {seconds:.2f}s, two halves ="


def main() -> int:
    began = time.monotonic()
    given = os.environ.get("AUDITLOG_TEST_DATABASE_URL") or os.environ.get("DATABASE_URL")
    first = start(COMPUTING, subprocess.PIPE)
    assert first.stdout is not None
    if given:
        last, code = shown(first.stdout), first.wait()
    with tempfile.TemporaryFile() as told:
        second = start(others(), told)
        if not given:
            last, code = shown(first.stdout), first.wait()
        code = max(code, second.wait())
        told.seek(0)
        end = shown(told)
    sys.stdout.write(closing((last, end), time.monotonic() - began) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
