"""Owns that the code of the README and the quickstart does what the pages say: every block is run as it stands, against a service.

Only what installs packages is not run: `tests/shape/test_pages.py` compares it with what is installed here.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import expect, sync_playwright

from tests.contract.transports import span, traces
from tests.pages import QUICKSTART, README, ROOT, Block, blocks, code, rows, section
from tests.service import Service
from tests.story.chromium import PATH
from tests.story.test_why_the_400 import log_in

MODULES = ROOT / "tests" / "javascript" / "node_modules"
if shutil.which("node") is None or not MODULES.is_dir():
    raise RuntimeError("The quickstart's JavaScript needs Node.js and its packages. Run: make tests/javascript/node_modules/.stamp")

SECTIONS = {"Python": "quickstart-python", "JavaScript": "quickstart-javascript", "REST with curl": "quickstart-rest"}
INSTALLS = ("python3 -m pip install", "npm install")
(KEYS,) = (block.text for block in blocks(section(QUICKSTART, "Keys and addresses")))
PROMISE = re.compile(r"answers one session of customer `(\S+)` with (\d+) model calls, (\d+) tool calls? and the verdict `(\w+)`")
CREDITED = ["user_message", "reasoning", "tool_call", "reasoning", "tool_call", "assistant_message"]


class Desk:
    """A user's shell: a folder with `var` in it, as in the repository, and nothing of the developer's own settings."""

    def __init__(self, folder: Path, service: Service) -> None:
        self.folder = folder
        self.service = service
        (folder / "var").symlink_to(service.data)
        (folder / "node_modules").symlink_to(MODULES)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUDITLOG_", "OTEL_", "DATABASE_URL"))}
        self.env = kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder)}

    def sh(self, text: str, *, keys: str = KEYS, **env: str) -> subprocess.CompletedProcess[str]:
        """`env` is set after the page's own command, as a user would who makes a mistake."""
        changed = "".join(f"export {name}='{value}'\n" for name, value in env.items())
        script = f"set -euo pipefail\n{keys}\n{changed}{text}"
        return subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=90, check=False
        )

    def ok(self, text: str, *, keys: str = KEYS, **env: str) -> str:
        done = self.sh(text, keys=keys, **env)
        assert done.returncode == 0 and done.stderr == "", f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def settled(self) -> None:
        """Until what was sent is found, and its summary says what is believed of it."""
        deadline = time.monotonic() + 60
        while (status := self.service.get("/api/v1/status"))["pending_batches"] or status["stale_summaries"]:
            assert time.monotonic() < deadline, status
            time.sleep(0.1)

    def do(self, block: Block) -> str:
        """What a reader does with a block: save it, or run it, once what was sent before can be found."""
        if block.file:
            (self.folder / block.file).write_text(block.text)
            return ""
        if "/api/v1/sessions?" in block.text:
            self.settled()
        return self.ok(block.text)

    def timeline(self, session_id: str) -> dict[str, Any]:
        (found,) = self.service.get(f"/api/v1/sessions?session_id={session_id}")["results"]
        timeline: dict[str, Any] = self.service.get(f"/api/v1/sessions/{found['key']}/timeline")
        return timeline


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    service = Service()
    try:
        yield Desk(tmp_path_factory.mktemp("desk"), service.start())
    finally:
        service.remove()


@pytest.fixture(scope="module")
def answers(desk: Desk) -> dict[str, list[str]]:
    """What each section's blocks printed, in order."""
    return {
        title: [desk.do(block) for block in blocks(section(QUICKSTART, title)) if not block.text.startswith(INSTALLS)] for title in SECTIONS
    }


def test_the_command_of_the_quickstart_exports_the_addresses_and_keys_of_the_first_run(desk: Desk) -> None:
    run = desk.service.first_run
    assert desk.ok('echo "$AUDITLOG_URL $AUDITLOG_GRPC $AUDITLOG_INGEST_KEY $AUDITLOG_READ_KEY"').split() == [
        run["url"], run["otlp_grpc"], run["ingest_key"], run["read_key"],
    ]  # fmt: skip
    assert desk.ok('echo "$OTEL_EXPORTER_OTLP_ENDPOINT $OTEL_EXPORTER_OTLP_HEADERS"').split() == [
        run["otlp_http"], f"x-api-key={run['ingest_key']}",
    ]  # fmt: skip


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_ends_in_the_session_that_it_promises(answers: dict[str, list[str]], title: str) -> None:
    (promised,) = PROMISE.findall(section(QUICKSTART, title))
    (printed,) = (text for text in answers[title] if text.startswith('{"results"'))
    (found,) = json.loads(printed)["results"]
    assert found["session_id"] == SECTIONS[title] and found["agent"]["name"] == "refunds" and found["user_ids"] == ["u-17"]
    assert (found["customer_ids"], found["totals"]["model_calls"], found["totals"]["tool_calls"], found["verdict"]) == (
        [promised[0]], int(promised[1]), int(promised[2]), promised[3],
    )  # fmt: skip
    assert found["findings"] == []


@pytest.mark.parametrize(
    ("session_id", "kinds"),
    [
        ("quickstart-python", CREDITED),
        ("quickstart-grpc", CREDITED),
        ("quickstart-javascript", CREDITED),
        ("quickstart-rest", ["user_message", "reasoning", "tool_call", "assistant_message"]),
    ],
)
def test_the_decision_has_its_instruction_its_tools_and_a_credit_that_can_be_checked(
    desk: Desk, answers: dict[str, list[str]], session_id: str, kinds: list[str]
) -> None:
    timeline = desk.timeline(session_id)
    assert [step["kind"] for step in timeline["steps"]] == kinds
    assert timeline["completeness"]["verdict"] == "complete" and timeline["completeness"]["gaps"] == []
    assert timeline["system_prompts"][0]["text"].startswith("Explain charges and credit duplicates")
    assert "issue_credit" in [tool["name"] for tool in timeline["tools_offered"]]
    (credit,) = (step["tool"] for step in timeline["steps"] if step["kind"] == "tool_call" and step["tool"]["name"] == "issue_credit")
    assert (credit["offered"], credit["arguments_valid"], credit["outcome"]) == (True, True, "returned")
    assert credit["arguments"]["amount_usd"] == credit["result"]["amount_usd"] == 400
    assert all(origin["steps"] for origin in credit["origins"]), "every value of the credit comes from somewhere"


def test_the_rest_session_is_acknowledged_with_its_count_and_a_resend_is_a_duplicate(desk: Desk, answers: dict[str, list[str]]) -> None:
    text = section(QUICKSTART, "REST with curl")
    first, again = re.findall(r'`("\w+":\d+)`', text)
    assert first in answers["REST with curl"][1]
    (send,) = (block for block in blocks(text) if "/api/v1/events" in block.text)
    assert again in desk.ok(send.text)
    assert len(desk.timeline("quickstart-rest")["steps"]) == 4


def test_without_the_call_in_the_models_output_a_rest_call_cannot_be_checked(desk: Desk, answers: dict[str, list[str]]) -> None:
    (session,) = (block.text for block in blocks(section(QUICKSTART, "REST with curl")) if block.language == "json")
    (desk.folder / "loose.json").write_text(session.replace('"tool_call", "id"', '"other", "id"').replace("quickstart-rest", "loose"))
    (send,) = (block.text for block in blocks(section(QUICKSTART, "REST with curl")) if "/api/v1/events" in block.text)
    desk.ok(send.replace("session.json", "loose.json"))
    desk.settled()
    assert [step["tool"]["offered"] for step in desk.timeline("loose")["steps"] if step["kind"] == "tool_call"] == [None]


def test_what_the_quickstart_says_of_each_attribute_is_what_is_missing_without_it(desk: Desk, answers: dict[str, list[str]]) -> None:
    agent = (desk.folder / "agent.py").read_text()
    told = {name: row[1] for row in rows(section(QUICKSTART, "Python"), "| attribute | without it |") for name in code(row[0])}
    recorded = {
        name: {gap for gap in code(says) if gap.endswith(("_missing", "_recorded"))} for name, says in told.items() if f'"{name}"' in agent
    }
    assert told.keys() - recorded.keys() == {"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"}
    for name in recorded:
        less = agent.replace(f'"{name}"', '"left.out"').replace("quickstart-python", f"without-{name}").replace("CUST-1001", "CUST-LESS")
        (desk.folder / "less.py").write_text(less)
        desk.ok("python3 less.py")
    desk.settled()
    found = {row["session_id"]: row for row in desk.service.get("/api/v1/sessions?customer_id=CUST-LESS")["results"]}
    (nameless,) = found.keys() - {f"without-{name}" for name in recorded}
    assert re.fullmatch("trace:[0-9a-f]{32}", nameless)
    for name in recorded.keys() - {"gen_ai.conversation.id"}:
        gaps = desk.timeline(f"without-{name}")["completeness"]["gaps"]
        assert {gap["code"] for gap in gaps} == recorded[name], name
    assert found["without-customer.id"]["customer_ids"] == [] and found["without-user.id"]["customer_ids"] == ["CUST-LESS"]
    assert "without-user.id" not in {row["session_id"] for row in desk.service.get("/api/v1/sessions?user_id=u-17")["results"]}


def test_the_address_that_a_section_names_shows_the_decision(desk: Desk, answers: dict[str, list[str]]) -> None:
    named = {title: re.findall(r"`http://127\.0\.0\.1:8000(/find\?session_id=\S+)`", section(QUICKSTART, title)) for title in SECTIONS}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        page = browser.new_page()
        log_in(page, desk.service.first_run)
        for title, (address,) in named.items():
            page.goto(desk.service.first_run["url"] + address)
            expect(page.get_by_role("heading", level=1)).to_contain_text("issue_credit")
            expect(page.get_by_role("heading", level=1)).to_contain_text(PROMISE.findall(section(QUICKSTART, title))[0][0])
            expect(page.locator("li.row.tool_call").last).to_contain_text("returned")
        browser.close()


@pytest.mark.parametrize(
    ("command", "env", "said"),
    [
        ("python3 agent.py", {"HEADERS": "x-api-key=al_wrong"}, "code: 401"),
        ("python3 agent.py", {"HEADERS": ""}, "code: 401"),
        ("node agent.mjs || true", {"HEADERS": "x-api-key=al_wrong"}, "key_unknown"),
        ("python3 agent_grpc.py", {"HEADERS": "x-api-key=al_wrong", "ENDPOINT": "http://127.0.0.1:{grpc}"}, "key_unknown"),
        ("python3 agent.py", {"TRACES_ENDPOINT": "http://127.0.0.1:{otlp}"}, "code: 404"),
        ("python3 agent_grpc.py", {"ENDPOINT": "http://127.0.0.1:{otlp}", "TIMEOUT": "2"}, "Socket closed"),
        ("python3 agent.py", {"ENDPOINT": "http://127.0.0.1:{grpc}", "TIMEOUT": "2"}, "BadStatusLine"),
        ("python3 agent_grpc.py", {"ENDPOINT": "https://127.0.0.1:{grpc}", "TIMEOUT": "2"}, "WRONG_VERSION_NUMBER"),
    ],
)
def test_a_mistake_looks_as_the_quickstart_says(
    desk: Desk, answers: dict[str, list[str]], command: str, env: dict[str, str], said: str
) -> None:
    there = {f"OTEL_EXPORTER_OTLP_{name}": value.format(otlp=desk.service.otlp, grpc=desk.service.grpc) for name, value in env.items()}
    assert said in desk.sh(command, **there).stderr
    assert said.removeprefix("code: ") in section(QUICKSTART, "If nothing shows")


def test_a_key_for_the_other_purpose_is_refused_by_name(desk: Desk, answers: dict[str, list[str]]) -> None:
    (send,) = (block.text for block in blocks(section(QUICKSTART, "REST with curl")) if "/api/v1/events" in block.text)
    refused = desk.sh(send.replace("AUDITLOG_INGEST_KEY", "AUDITLOG_READ_KEY"))
    assert refused.returncode == 22 and "scope_missing" in refused.stdout
    (status,) = re.findall(r"^`(curl .+/status.+?)`", section(QUICKSTART, "If nothing shows"), re.M)
    assert {"events", "quarantined", "pending_batches"} <= json.loads(desk.ok(status)).keys()
    assert "scope_missing" in desk.ok(status.replace("AUDITLOG_READ_KEY", "AUDITLOG_INGEST_KEY"))


class Redirecting(BaseHTTPRequestHandler):
    """What a proxy does that leads from http to https."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(308)
        self.send_header("Location", "http://127.0.0.1:9/v1/traces")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_pythons_exporter_takes_a_redirect_for_success(desk: Desk, answers: dict[str, list[str]]) -> None:
    server = HTTPServer(("127.0.0.1", 0), Redirecting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert desk.ok("python3 agent.py", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{server.server_port}") == ""
    finally:
        server.shutdown()
        server.server_close()


def test_the_code_of_the_readme_stores_its_event(desk: Desk) -> None:
    key, variables, send = (block.text for block in blocks(section(README, "Send your own")))
    here = send.replace("http://127.0.0.1:8000", desk.service.first_run["url"])
    assert here != send
    receipt = json.loads(desk.ok(f"{key}\n{variables}\n{here}", keys=""))
    assert receipt["accepted"] == 1 and len(receipt["batch"]["root"]) == 64
    desk.settled()
    timeline = desk.timeline("s-1")
    assert timeline["customer_ids"] == ["CUST-1000"] and [step["tool"]["name"] for step in timeline["steps"]] == ["issue_credit"]


def test_the_variables_of_the_readme_are_all_that_an_exporter_needs(desk: Desk, answers: dict[str, list[str]]) -> None:
    key, variables, _ = (block.text for block in blocks(section(README, "Send your own")))
    here = variables.replace("http://127.0.0.1:4318", desk.service.first_run["otlp_http"])
    assert here != variables
    (desk.folder / "plain.py").write_text((desk.folder / "agent.py").read_text().replace("quickstart-python", "readme"))
    desk.ok(f"{key}\n{here}\npython3 plain.py", keys="")
    desk.settled()
    assert desk.timeline("readme")["completeness"]["verdict"] == "complete"


def test_the_service_prints_what_the_readme_shows(desk: Desk) -> None:
    (shown,) = (block.text for block in blocks(README.read_text()) if block.language == "text")
    service = desk.service
    for port, here in ((8000, service.http), (4318, service.otlp), (4317, service.grpc)):
        shown = shown.replace(f"127.0.0.1:{port}", f"127.0.0.1:{here}")
    pattern = re.escape(shown).replace("…/var", re.escape(str(service.data))).replace("…", r"\S+")
    assert re.search(pattern, service.log.read_text()), service.log.read_text()


@pytest.mark.conformance(95)
def test_a_request_as_the_collectors_configuration_makes_it_is_stored(desk: Desk) -> None:
    (config,) = (block.text for block in blocks(section(QUICKSTART, "OpenTelemetry Collector")) if block.language == "yaml")
    (exporter,) = yaml.safe_load(config)["exporters"].values()
    key = desk.service.first_run["ingest_key"]
    headers = {name: value.replace("${env:AUDITLOG_INGEST_KEY}", key) for name, value in exporter["headers"].items()}
    request = urllib.request.Request(
        exporter["endpoint"].replace("127.0.0.1:4318", f"127.0.0.1:{desk.service.otlp}") + "/v1/traces",
        data=gzip.compress(traces(span())),  # as it sends by default: protobuf, gzip
        headers=headers | {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200 and "count=1" in answer.headers["x-auditlog-receipt"]


def test_an_agent_that_is_killed_during_a_call_leaves_gaps_of_what_had_been_sent_and_nothing_of_what_had_not(
    desk: Desk, answers: dict[str, list[str]]
) -> None:
    agent = (desk.folder / "agent.py").read_text()
    dying = agent.replace("response = RUN", "import os; os._exit(9)\n        response = RUN").replace("quickstart-python", "died-queued")
    (desk.folder / "dying.py").write_text(dying)
    assert desk.sh("python3 dying.py").returncode == 9
    at_once = dying.replace("BatchSpanProcessor", "SimpleSpanProcessor").replace("died-queued", "died-sent")
    (desk.folder / "dying.py").write_text(at_once)
    assert desk.sh("python3 dying.py").returncode == 9
    desk.settled()
    assert desk.service.get("/api/v1/sessions?session_id=died-queued")["results"] == []
    timeline = desk.timeline("died-sent")
    assert timeline["steps"][-1]["tool"]["outcome"] == "unknown"
    assert {gap["code"] for gap in timeline["completeness"]["gaps"]} == {"result_missing", "parent_missing"}
