"""Owns a small service under the real supervisor: `python -m tests.platform.fake_service <folder> <scenario>`.

Each fake process writes its process ID to <folder>/<name>.pid and its end to <folder>/order.
"""

from __future__ import annotations

import sys
from pathlib import Path

from auditlog.platform import embedded as server
from auditlog.platform import supervisor as supervision
from auditlog.platform.embedded import Embedded
from auditlog.platform.roster import Role
from auditlog.platform.supervisor import Stop, Supervisor

MEMBER = """
import os, signal, sys, time
from auditlog.platform import process
folder, name, grandchild = sys.argv[1:4]
def end(*_):
    time.sleep(0.2)
    with open(f"{folder}/order", "a") as file:
        file.write(name + "\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
if grandchild == "yes":
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        process.die_with_parent(parent)
        with open(f"{folder}/{name}.grandchild.pid", "w") as file:
            file.write(str(os.getpid()))
        time.sleep(600)
with open(f"{folder}/{name}.pid.new", "w") as file:
    file.write(str(os.getpid()))
os.rename(f"{folder}/{name}.pid.new", f"{folder}/{name}.pid")
process.ready()
while True:
    time.sleep(600)
"""
SHAKEN = """
import pathlib, sys, time
from auditlog.platform import process
starts = pathlib.Path(sys.argv[1], "starts")
with starts.open("a") as file:
    file.write("x")
if 1 < starts.stat().st_size < 7:
    sys.exit(3)
process.ready()
time.sleep(1 if starts.stat().st_size == 1 else 600)
"""
HOPELESS = "import sys; sys.stderr.write('the flux is not compensated\\n'); sys.exit(3)"


def roles(folder: Path, scenario: str) -> list[Role]:
    def member(name: str, grandchild: str, first: bool) -> Role:
        return Role(name, (sys.executable, "-c", MEMBER, str(folder), name, grandchild), first_to_stop=first)

    found = [member("front", "yes", True), member("work", "no", False)]
    more = {"hopeless": ("broken", HOPELESS), "shaken": ("shaken", SHAKEN)}
    if scenario in more:
        name, code = more[scenario]
        found.append(Role(name, (sys.executable, "-c", code, str(folder))))
    return found


def main() -> int:
    folder, scenario = Path(sys.argv[1]), sys.argv[2]
    embedded = Embedded(folder) if scenario in ("postgres", "impatient") else None
    if scenario == "impatient":
        server.PATIENCE = 0.5  # type: ignore[misc]  # each start in vain ends sooner
    supervision.PAUSE = 0.2  # type: ignore[misc]
    supervisor = Supervisor(embedded, folder, roles(folder, scenario))
    supervisor.listen()
    try:
        supervisor.start_postgres()
        supervisor.start_members()
        (folder / "up").touch()
        supervisor.run()
    except Stop as reason:
        supervisor.stop()
        sys.stderr.write(f"stopped: {reason}\n")
        return 1 if str(reason) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
