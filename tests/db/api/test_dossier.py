"""Owns the checks of the dossier: what stands in it, who gets it, that it was recorded, and that its PDF has every word."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import time
from html import unescape
from typing import Any

import pypdf
import pytest
from django.test import Client

from auditlog import governance
from auditlog.errors import Problem
from auditlog.ingest import rest
from auditlog.web.access import ROLES
from auditlog.web.dossier import glyphs, parts, pdf
from auditlog.web.dossier.summary import NOT_PROOF
from tests.db.api.conftest import World, person
from tests.db.api.test_access import SESSION, recorded, text

HEADINGS = [
    "The question", "The answer", "Action", "Concerns", "Agent and model", "Approval", "The rule quoted", "Evidence relied on",
    "Reasoning", "Checks", "Unknown", "Proven", "Not proven", "Withheld", "Prepared", "Times",
]  # fmt: skip
HOSTILE = [
    "Plain words, “quoted” — naïve Zoë, Счёт, Ελλάδα.",
    "汉字と日本語 한국어 テスト",
    "مرحبا بالعالم لماذا تم خصم المبلغ",
    "emoji 😀 👍🏽 ✅ and arrows → ≤",
    "bidi \u202e evil \u2066 and nul-like \x07 bell",
    '#panic() *bold* _it_ $x^2$ @ref <label> \\ \\n // comment `raw` = heading - item #read("/etc/passwd") #import "@preview/x:0.1.0"',
    "<script>alert(1)</script> &amp; <img src=x onerror=alert(1)> {{ csrf_token }} {% now %}",
    "old writing 𓀀 that no font has",
    "x" * 300,
]


def words(data: bytes) -> str:
    """The text of a PDF without any white space, which is the typesetter's."""
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    running = re.compile(r"Prepared by .*? of \d+", re.DOTALL)
    return squeezed("".join(running.sub("", page.extract_text().partition("\n")[2]) for page in pages))


def squeezed(said: str) -> str:
    return re.sub(r"\s|\u200b|\ufe0f", "", said)


def printed(said: str) -> str:
    """A stored text as it must stand in the PDF."""
    return squeezed("".join(segment.badge or segment.text for segment in glyphs.spelled(said)))


def sent(world: World, events: list[dict[str, Any]], session: str) -> str:
    body = json.dumps({"events": [{"session_id": session, **event} for event in events]}).encode()
    world.bench.send(rest.read(body, "application/json").items)
    world.bench.derive()
    return world.key_of(session)


def hostile(world: World, session: str = "hostile") -> str:
    events: list[dict[str, Any]] = [
        {"kind": "prompt", "at": f"2026-03-01T10:00:{n:02}Z", "input": [{"role": "user", "content": said}]}
        for n, said in enumerate(HOSTILE)
    ]
    events.append({"kind": "reasoning", "at": "2026-03-01T10:01:00Z", "reasoning": "#let x = 1; thinking about 汉字 and \u202e tricks"})
    tool = {
        "name": "pay",
        "call_id": "c1",
        "arguments": {"amount_usd": 400, "to": "*x* #panic()"},
        "result": {"ok": True, "said": HOSTILE[2]},
    }
    events.append({"kind": "tool_call", "at": "2026-03-01T10:02:00Z", "customer_id": "ACME-2024", "tool": tool})
    return sent(world, events, session)


def first_page(page: str) -> dict[str, str]:
    pairs = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", page, re.DOTALL)
    return {name: unescape(re.sub(r"<[^>]+>", " ", said)) for name, said in pairs}


def test_the_first_page_says_everything_in_its_order_and_what_nobody_stated_is_called_so(refund: World, operator: Client) -> None:
    found = first_page(text(operator.get(f"/sessions/{refund.key_of(SESSION)}/dossier")))
    assert list(found) == HEADINGS
    for name in ("The question", "The answer", "The rule quoted"):
        assert "Not stated." in found[name]
    assert "issue_credit" in found["Action"] and "$400.00" in found["Action"] and "cr_55120" in found["Action"]
    assert "tool's own run" in found["Action"] and "returned" in found["Action"]
    assert "ACME-2024" in found["Concerns"] and "gpt-5-mini-2025-08-07" in found["Agent and model"]
    assert "Nobody: no approval was recorded" in found["Approval"]
    assert "seen nowhere before" in found["Evidence relied on"] and "step 1" in found["Evidence relied on"]
    assert "rule 3b holds" in found["Reasoning"] and NOT_PROOF in found["Reasoning"] and "as the model wrote it" in found["Reasoning"]
    assert "Was offered" in found["Checks"] and "Arguments valid" in found["Checks"]
    assert "gives the root that was acknowledged" in found["Proven"] and "operator" in found["Prepared"]


def test_what_a_person_states_is_printed_and_kept_nowhere(refund: World, operator: Client) -> None:
    key = refund.key_of(SESSION)
    stated = {
        "question": "Why the 400?",
        "answer": "Two charges,\r\none invoice.",
        "answered_by": "Ines Keller",
        "rule": "promise  future\r\ndiscounts",
    }
    found = first_page(text(operator.post(f"/sessions/{key}/dossier", stated)))
    assert (
        "Why the 400?" in found["The question"]
        and "Ines Keller" in found["The answer"]
        and "promise  future\ndiscounts" in found["The rule quoted"]
    )
    said = words(operator.post(f"/sessions/{key}/dossier.pdf", stated).content)
    assert squeezed("Two charges, one invoice.") in said and "InesKeller" in said
    assert "Ines Keller" not in json.dumps(recorded(refund)) and "Ines Keller" not in text(operator.get(f"/sessions/{key}/dossier"))
    assert recorded(refund)[-2]["about"]["stated"] == ["question", "answer", "answered_by", "rule"]


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"rule": "Give every customer a pony"}, "does not stand in the recorded instruction"),
        ({"answer": "Because."}, "needs the name of the person"),
    ],
)
def test_no_rule_is_invented_and_no_answer_is_nobodys(refund: World, operator: Client, stated: dict[str, str], said: str) -> None:
    key = refund.key_of(SESSION)
    for path in ("dossier", "dossier.pdf"):
        answer = operator.post(f"/sessions/{key}/{path}", stated)
        assert answer.status_code == 400 and said in text(answer)
    assert "Not stated." in first_page(text(operator.post(f"/sessions/{key}/dossier", stated)))["The rule quoted"]


def test_another_action_can_be_chosen_and_what_is_no_action_cannot(refund: World, operator: Client) -> None:
    key = refund.key_of(SESSION)
    timeline = refund.api.json(f"sessions/{key}/timeline")
    number = next(step["n"] for step in timeline["steps"] if step["kind"] == "tool_call") + 1
    assert "lookup_customer_history" in first_page(text(operator.get(f"/sessions/{key}/dossier?step={number}")))["Action"]
    for wrong in ("1", "0", "99", "x", "-1"):
        assert operator.get(f"/sessions/{key}/dossier?step={wrong}").status_code == 400


@pytest.mark.parametrize("role", ["viewer", "compliance", "admin"])
def test_without_the_right_to_content_there_is_no_dossier(refund: World, role: str) -> None:
    client = person(refund.project, "vera", role)
    key = refund.key_of(SESSION)
    before = len(recorded(refund))
    for path in ("dossier", "dossier.pdf"):
        for answer in (client.get(f"/sessions/{key}/{path}"), client.post(f"/sessions/{key}/{path}")):
            assert answer.status_code == 403 and b"cr_55120" not in answer.content
    assert "/dossier" not in text(client.get(f"/sessions/{key}"))
    assert [one["action"] for one in recorded(refund)[before:]] == ["session.view"]


def test_somebody_of_another_project_finds_no_dossier(refund: World) -> None:
    other = person(refund.other, "olga", *ROLES)
    for path in ("dossier", "dossier.pdf"):
        assert other.get(f"/sessions/{refund.key_of(SESSION)}/{path}").status_code == 404


def test_page_and_pdf_are_recorded_with_what_makes_them_known_again(refund: World, operator: Client) -> None:
    key = refund.key_of(SESSION)
    before = len(recorded(refund))
    page = text(operator.get(f"/sessions/{key}/dossier"))
    answer = operator.get(f"/sessions/{key}/dossier.pdf")
    view, saved = recorded(refund)[before:]
    assert [view["action"], saved["action"]] == ["dossier.view", "dossier.pdf"]
    assert view["about"]["session"] == key and view["about"]["dossier"] in page and view["about"]["stated"] == []
    assert saved["about"]["sha256"] == hashlib.sha256(answer.content).hexdigest()
    assert saved["about"]["dossier"] == view["about"]["dossier"] and saved["about"]["dossier"] in answer["Content-Disposition"]


def test_what_cannot_be_recorded_is_not_given(refund: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise Problem("store_unavailable", "The store is away.")

    key = refund.key_of(SESSION)
    monkeypatch.setattr(governance._recorder._writer, "write", away)
    for path in ("dossier", "dossier.pdf"):
        answer = operator.get(f"/sessions/{key}/{path}")
        assert answer.status_code == 503 and b"cr_55120" not in answer.content and not answer.content.startswith(b"%PDF")


def test_a_session_of_many_steps_is_set_in_seconds(world: World, operator: Client) -> None:
    events: list[dict[str, Any]] = []
    for n in range(150):
        at = f"2026-03-01T10:{n // 60:02}:{n % 60:02}Z"
        events.append({"kind": "reasoning", "at": at, "reasoning": f"thought {n}: " + "why this and not that? " * 8})
        tool = {
            "name": "look",
            "call_id": f"c{n}",
            "arguments": {"n": n},
            "result": {"rows": [{"id": f"r{n}-{m}", "ok": True} for m in range(4)]},
        }
        events.append({"kind": "tool_call", "at": at, "tool": tool})
    key = sent(world, events, "many")
    began = time.monotonic()
    data = operator.get(f"/sessions/{key}/dossier.pdf").content
    assert time.monotonic() - began < 15 and len(data) < 5_000_000
    said = words(data)
    assert all(f"thought{n}:" in said for n in range(150)) and said.count("Toolcalllook") == 150


def test_every_text_of_every_step_stands_in_the_pdf_word_for_word(world: World, operator: Client) -> None:
    key = hostile(world)
    timeline = world.api.json(f"sessions/{key}/timeline")
    answer = operator.get(f"/sessions/{key}/dossier.pdf")
    assert answer.status_code == 200 and answer["Content-Type"] == "application/pdf"
    said = words(answer.content)
    assert {step["text"] for step in timeline["steps"] if step["kind"] == "user_message"} == set(HOSTILE)
    for step in timeline["steps"]:
        if step.get("text") == HOSTILE[2]:  # written from right to left: a reader of PDFs gives the words back in another order
            assert all(word in said for word in HOSTILE[2].split())
        elif step.get("text"):
            assert printed(step["text"]) in said, step["text"]
    assert "*x*#panic()" in said and "U+202E" in said and "U+13000" in said and "\u202e" not in said
    raw = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(answer.content)).pages)
    assert "x" * 60 in raw and "x" * 150 not in raw  # a long word ends its line before the paper does
    for record in world.bench.rows("SELECT encode(sha256(skeleton), 'hex') FROM event WHERE item <> 4"):
        assert record[0] in said


def test_markup_in_texts_stays_text_on_the_page(world: World, operator: Client) -> None:
    page = text(operator.get(f"/sessions/{hostile(world)}/dossier"))
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page and "\u202e" not in page and "U+202E" in page


def test_the_same_dossier_is_the_same_bytes_and_is_an_archive_that_says_whose_it_is(refund: World, operator: Client) -> None:
    key = refund.key_of(SESSION)
    made = []
    keep = pdf.made

    def kept(document: Any) -> bytes:
        made.append(document)
        return keep(document)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auditlog.web.dossier.pages.pdf.made", kept)
        first = operator.get(f"/sessions/{key}/dossier.pdf").content
    assert pdf.made(made[0]) == first
    reader = pypdf.PdfReader(io.BytesIO(first))
    assert reader.metadata is not None and reader.metadata.author == "operator"
    assert "issue_credit $400.00" in str(reader.metadata.title) and made[0].id in str(reader.metadata.title)
    assert b"pdfaid" in first and "/StructTreeRoot" in reader.root_object
    count = len(reader.pages)
    assert [f"{n} of {count}" in page.extract_text() for n, page in enumerate(reader.pages, 1)] == [True] * count


def test_a_text_that_is_too_long_says_where_it_was_cut(world: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.Budget.__init__, "__defaults__", (parts.WHOLE, 50))
    event = {"kind": "prompt", "at": "2026-03-01T10:00:00Z", "input": [{"role": "user", "content": "y" * 80}]}
    key = sent(world, [event], "long")
    page = text(operator.get(f"/sessions/{key}/dossier"))
    assert "Cut here: 30 of 80 characters are not printed; the record has all of it." in page and "y" * 51 not in page
    assert "There is no action" in page or "no action to account for" in page


def test_evidence_that_was_changed_is_not_called_proven(refund: World, operator: Client) -> None:
    key = refund.key_of(SESSION)
    refund.bench.owner.execute("UPDATE part SET root = sha256(root)")
    found = first_page(text(operator.get(f"/sessions/{key}/dossier")))
    assert "not as it was acknowledged" in found["Proven"] and "do not give the root" in found["Proven"]
    assert "gives the root that was acknowledged" not in found["Proven"]


def test_any_character_that_the_fonts_are_said_to_have_can_be_set(world: World, operator: Client) -> None:
    had = sorted(glyphs._known())
    said = "".join(chr(n) for n in had[:: len(had) // 4_000] if n > 0x20)
    event = {"kind": "prompt", "at": "2026-03-01T10:00:00Z", "input": [{"role": "user", "content": said}]}
    assert operator.get(f"/sessions/{sent(world, [event], 'all')}/dossier.pdf").content.startswith(b"%PDF")


def test_what_takes_too_long_is_given_up_and_said(refund: World, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    key = refund.key_of(SESSION)
    before = len(recorded(refund))
    monkeypatch.setattr(pdf, "WITHIN", 0.01)
    answer = operator.get(f"/sessions/{key}/dossier.pdf")
    assert answer.status_code == 504 and "was given up. Nothing was lost" in text(answer)
    assert recorded(refund)[before:] == []


def test_even_a_template_reaches_no_file_and_no_network(tmp_path: Any) -> None:
    """More than a text can do, which is no template."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret of this machine")
    head = '#set document(title: "t")\n#set text(font: "Noto Sans", fallback: false)\n= t\n'
    asked = {
        '#read("data.json")': True,
        f'#read("{secret}")': False,
        '#read("../../../../../../etc/passwd")': False,
        '#import "@preview/cetz:0.3.1"': False,
        '#image("http://127.0.0.1:9/x.png")': False,
    }
    for said, fine in asked.items():
        work = json.dumps({"template": head + said, "data": {}, "fonts": glyphs.folders(), "at": 0}).encode()
        if fine:
            assert pdf._set(work).startswith(b"%PDF")
        else:
            with pytest.raises(Problem):
                pdf._set(work)


def test_a_glyph_that_is_missing_is_an_error_and_never_a_box() -> None:
    template = '#set document(title: "t")\n#set text(font: "Noto Sans", fallback: false)\n= #json("data.json")'
    for said, fine in (("known", True), ("\U00013000", False), ("\ue000", False)):
        work = json.dumps({"template": template, "data": said, "fonts": glyphs.folders(), "at": 0}).encode()
        done = subprocess.run([sys.executable, "-I", str(pdf.CHILD)], input=work, capture_output=True, env={}, cwd="/")
        assert done.stdout.startswith(b"%PDF") is fine and (b"could not be displayed" in done.stderr) is not fine
