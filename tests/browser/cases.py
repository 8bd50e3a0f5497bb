"""Owns sessions as agents really leave them, of 2, 20 and 300 steps: what people look at, and what accessibility is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.browser.planting import post
from tests.service import Service

Calls = Sequence[tuple[str, dict[str, Any]]]
SIZES: Final = (2, 20, 300)
START: Final = datetime(2026, 3, 12, 9, 4, 12, tzinfo=UTC)
INSTRUCTION: Final = """You are the refunds agent of Northwind Cloud.

# Rules
1. Call lookup_customer_history before you speak of any charge.
2. A credit of more than 250 USD needs the approval of a person; ask for it with request_approval.
3. a. Never credit more than the charge that is disputed.
   b. A duplicate is two charges of one amount for one invoice within 24 hours.
4. Offers of other customers are confidential. Refuse, and say so."""
OFFERED: Final = [
    {"name": "lookup_customer_history", "description": "All charges and contacts of a customer.",
     "parameters": {"type": "object", "properties": {"customer_id": {"type": "string"}}, "required": ["customer_id"]}},
    {"name": "get_invoice", "description": "One invoice with its lines.",
     "parameters": {"type": "object", "properties": {"invoice_id": {"type": "string"}, "with_lines": {"type": "boolean"}}}},
    {"name": "issue_credit", "description": "Credits an account. Cannot be undone.",
     "parameters": {"type": "object", "properties": {"customer_id": {"type": "string"}, "amount_usd": {"type": "number"},
                    "reason": {"type": "string", "enum": ["duplicate", "goodwill"]}}, "required": ["customer_id", "amount_usd"]}},
    {"name": "send_email", "description": "Sends a message to the customer.", "parameters": {"type": "object"}},
]  # fmt: skip


class Story:
    """Events of one session, each a while after the one before."""

    def __init__(self, session_id: str, customer: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.now = START
        self.common = {"session_id": session_id, "customer_id": customer, "user_id": "user-4711", "attributes": {"ticket_id": "T-20931"}}
        self.agent = {"name": "refunds", "version": "3.2.0"}
        self.heard: list[dict[str, Any]] = []
        self.asked_for: list[tuple[str, str, dict[str, Any]]] = []

    def add(self, kind: str, seconds: float = 1.0, lasting: float | None = None, **more: Any) -> None:
        self.now += timedelta(seconds=seconds)
        ended = {} if lasting is None else {"ended_at": (self.now + timedelta(seconds=lasting)).isoformat()}
        self.events.append(self.common | {"kind": kind, "at": self.now.isoformat(), "agent": self.agent} | ended | more)

    def tool(self, n: int, seconds: float = 0.4, lasting: float | None = 0.6, **more: Any) -> None:
        """The n-th call that the last answer of the model asked for is made."""
        call_id, name, arguments = self.asked_for[n]
        self.add("tool_call", seconds, lasting, tool={"name": name, "call_id": call_id, "arguments": arguments} | more)

    def model(self, asked: str = "", said: str = "", thought: str = "", calls: Calls = (), **more: Any) -> None:
        number = len(self.events)
        if asked:
            self.heard.append({"role": "user", "content": asked})
        self.asked_for = [(f"call_{number:04}{n}", name, arguments) for n, (name, arguments) in enumerate(calls)]
        parts: list[dict[str, Any]] = [{"type": "text", "text": said}] if said else []
        parts += [{"type": "tool_call", "id": call_id, "name": name, "arguments": given} for call_id, name, given in self.asked_for]
        if thought:
            more["reasoning"] = thought
        self.add("model_call", 1.4, 1.1, id=f"m{number}", model="claude-opus-4-1", response_model="claude-opus-4-1-20250805",
                 response_id=f"msg_01{number:06}", system=INSTRUCTION, tools=OFFERED, input=list(self.heard),
                 output=[{"role": "assistant", "content": parts}],
                 usage={"input_tokens": 1840 + 37 * number, "output_tokens": 122, "reasoning_tokens": 64}, **more)  # fmt: skip
        self.now += timedelta(seconds=1.1)


def short() -> list[dict[str, Any]]:
    story = Story("chat-2", "GLOBEX-1871")
    story.model(asked="When is my next invoice due?", said="Your next invoice is due on 1 April 2026. — Aria")
    return story.events


def cycle(story: Story, number: int) -> None:
    """Twenty steps: parallel calls, nested results, an approval, an error, a refusal, a hand-off, and a call whose end is not known."""
    invoice, amount = f"INV-{1182 + number}", 400 + number
    story.model(
        asked=f"Why was my account charged twice for {invoice}? Please refund the duplicate of ${amount}.00.",
        thought=f"The customer says that they were charged twice for {invoice}. Rule 1: I must call lookup_customer_history before I "
        "speak of any charge, and I want the invoice beside it.",
        calls=[("lookup_customer_history", {"customer_id": "ACME-2024"}), ("get_invoice", {"invoice_id": invoice, "with_lines": True}),
               ("get_invoice", {"invoice_id": f"INV-{number}", "with_lines": "yes"})],
    )  # fmt: skip
    charges = [{"id": f"ch_{number}{n}", "amount_usd": amount, "invoice": invoice, "at": f"2026-03-0{n + 1}T08:12:44Z",
                "card": {"brand": "visa", "last4": "4242"}} for n in range(2)]  # fmt: skip
    story.tool(0, lasting=2.0, result={"charges": charges, "contacts": []})
    story.tool(1, 0.05, 1.7, result={"id": invoice, "total_usd": amount, "state": "paid"})
    story.tool(2, 0.05, 0.3, error="404: no such invoice")
    rule = {"id": "refunds#3b", "score": 0.91, "text": "A duplicate is two charges of one amount for one invoice."}
    query = f"duplicate charge {invoice}"
    story.add("retrieval", 2.5, retrieval={"source": "policies/refunds.md", "version": "7", "query": query, "documents": [rule]})
    story.model(
        thought=f"Two charges of {amount} for {invoice} within 24 hours: a genuine duplicate under rule 3b. {amount} is more than 250, so "
        "that a person has to approve it.",
        said=f"I see the duplicate for {invoice} and ask a colleague to approve the credit.",
        calls=[("request_approval", {"amount_usd": amount, "for": {"customer": "ACME-2024", "invoices": [invoice]}})],
    )
    story.tool(0, result="asked #approvals")
    story.add(
        "approval", 40, approval={"decision": "approved", "by": "m.keller", "reason": f"duplicate of {invoice}, checked in the ledger"}
    )
    story.add("handoff", 0.5, handoff={"from": "refunds", "to": "payments", "reason": f"credits are issued there ({invoice})"})
    story.agent = {"name": "payments", "version": "1.9.1"}
    mail = {"to": "ap@acme.example", "subject": f"Credit of ${amount}.00", "body": "Dear customer,\n\nwe credited it.\n\n— Aria"}
    story.model(
        thought=f"Approved. I credit exactly the disputed charge of {invoice}, not more (rule 3a).",
        calls=[("issue_credit", {"customer_id": "ACME-2024", "amount_usd": amount, "reason": "duplicate"}), ("send_email", mail)],
    )
    story.tool(0, result={"credit_id": f"cr_{55120 + number}", "status": "posted", "balance_usd": -amount})
    story.add("message", 2, error=f"smtp.Disconnected after {number} bytes")
    story.agent = {"name": "refunds", "version": "3.2.0"}
    story.model(asked=f"And what did you offer to Globex in case {number}?", thought=f"Rule 4. I refuse ({number}).", said="")
    story.add(
        "guardrail", 0.2, guardrail={"name": "confidentiality", "decision": "blocked", "reason": f"names another customer ({number})"}
    )
    story.model(said=f"I credited ${amount}.00 for {invoice} (cr_{55120 + number}). I cannot speak of other customers. — Aria")
    story.add("feedback", 9, feedback={"score": 5, "text": f"Thank you, {invoice} is settled."})


def sent(size: int) -> list[dict[str, Any]]:
    if size == 2:
        return short()
    story = Story(f"chat-{size}", "ACME-2024")
    for number in range(size // 20):
        cycle(story, number)
    return story.events


def load(service: Service) -> None:
    for size in SIZES:
        assert post(service, f"{service.first_run['url']}/api/v1/events", {"events": sent(size)})["quarantined"] == []


def key_of(service: Service, size: int) -> str:
    (found,) = service.get(f"/api/v1/sessions?session_id=chat-{size}")["results"]
    return str(found["key"])
