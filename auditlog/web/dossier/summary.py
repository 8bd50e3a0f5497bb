"""Owns the first page of a dossier: what a reader who reads nothing else must know, in an order that never changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from auditlog.derive.read import SessionFacts
from auditlog.reconstruct import actions
from auditlog.search.proofs import Proofs
from auditlog.web import present
from auditlog.web.dossier.parts import Clock, Item, Part, excerpt, note, say
from auditlog.web.dossier.stated import Stated
from auditlog.web.tags import money

NOT_PROOF: Final = "Text that the model produced, recorded verbatim. It is not proof of what caused the action."
NOT_STATED: Final = "Not stated."
EXCERPT: Final = 900  # characters of a reasoning on the first page
MOST_ORIGINS: Final = 16
MOST_UNKNOWN: Final = 8
MOST_WHOM: Final = 12


class Preparer(NamedTuple):
    name: str
    roles: tuple[str, ...]
    at: str  # ISO 8601, UTC


class Case(NamedTuple):
    """Everything that a dossier is made from. `step`: the action that it is about; None: no tool was called."""

    facts: SessionFacts
    timeline: dict[str, Any]
    step: dict[str, Any] | None
    proofs: Proofs
    stated: Stated
    preparer: Preparer
    clock: Clock


def first_page(case: Case) -> tuple[Item, ...]:
    made = {
        "The question": _stated(case.stated.question),
        "The answer": _answer(case.stated),
        "Action": _action(case),
        "Concerns": _whom(case.facts),
        "Agent and model": _agent(case),
        "Approval": _approval(case),
        "The rule quoted": _rule(case),
        "Evidence relied on": _evidence(case),
        "Reasoning": _reasoning(case),
        "Checks": _checks(case),
        "Unknown": _unknown(case.timeline),
        "Proven": _proven(case),
        "Not proven": _not_proven(),
        "Withheld": _withheld(case),
        "Prepared": _prepared(case),
        "Times": _times(case),
    }
    return tuple(Item(heading, tuple(parts)) for heading, parts in made.items())


def _stated(text: str) -> Iterator[Part]:
    yield Part("text", text) if text else say(NOT_STATED, "open")


def _answer(stated: Stated) -> Iterator[Part]:
    yield from _stated(stated.answer)
    if stated.answer:
        yield Part("cells", rows=(("answered by", stated.answered_by),))


def _action(case: Case) -> Iterator[Part]:
    step = case.step
    if step is None:
        yield say("No tool was called in this session: there is no action to account for.")
        return
    line = actions.line(actions.action(step))
    rows = [("tool", str(line["tool"])), ("step", f"{step['n'] + 1} of {len(case.timeline['steps'])}")]
    rows.append(("amount", money(line["amount"], line["currency"]) if line["amount"] else "none in the arguments"))
    if line["object"]:
        rows.append(("object", str(line["object"])))
    rows += [("time", case.clock.both(step.get("at"))), ("outcome", present.OUTCOMES[line["outcome"]][0])]
    yield Part("cells", rows=tuple(rows))
    yield say(_confirmed(case, step))


def _confirmed(case: Case, step: dict[str, Any]) -> str:
    """How the outcome is known: by whose record, and whether anything later speaks of it."""
    tool = step["tool"]
    own = bool(step.get("started_at"))
    if tool["outcome"] == "unknown":
        said = "No result was recorded: it may have happened."
    elif tool["outcome"] == "refused":
        said = "A recorded decision refused it."
    elif own:
        said = "Known from the record of the tool's own run."
    else:
        said = "Known from what was passed back to the model; no record of the tool's own run was received."
    later = [str(s["n"] + 1) for s in case.timeline["steps"] if s["kind"] == "outcome" and s["n"] > step["n"]]
    if later:
        return f"{said} An outcome was reported afterwards: step {', '.join(later)}."
    return f"{said} Nothing outside this trail confirms it."


def _whom(facts: SessionFacts) -> Iterator[Part]:
    known = [("customer", value) for value in facts.customer_ids] + [("user", value) for value in facts.user_ids]
    known += [(kind, value) for kind, value in facts.subjects if kind not in ("customer", "user")]
    if not known:
        yield say("Nobody was named: the records carry no customer, user or other subject.", "open")
        return
    yield Part("cells", rows=tuple(known[:MOST_WHOM]))
    if len(known) > MOST_WHOM:
        yield note(f"And {len(known) - MOST_WHOM} more, in the records.")


def _agent(case: Case) -> Iterator[Part]:
    agent = case.facts.agent
    acted = case.step.get("agent") if case.step else None
    rows = [("agent", agent["name"] or "not recorded"), ("version", agent["version"] or "not recorded")]
    if acted and acted != agent["name"]:
        rows.insert(0, ("acting agent", str(acted)))
    number = case.step.get("model_call") if case.step else None
    calls = case.timeline["model_calls"]
    if number is None or number >= len(calls):
        served = sorted({str(call["response_model"]) for call in calls if call["response_model"]})
        rows.append(("models as served", ", ".join(served) or "not recorded"))
        yield Part("cells", rows=tuple(rows))
        yield note("Which model call led to the action was not recorded.")
        return
    call = calls[number]
    rows.append(("model as served", call["response_model"] or "not recorded"))
    rows.append(("model asked for", call["requested_model"] or "not recorded"))
    if call["provider"]:
        rows.append(("provider", call["provider"]))
    yield Part("cells", rows=tuple(rows))


def _approval(case: Case) -> Iterator[Part]:
    found = [step for step in case.timeline["steps"] if step["kind"] == "approval"]
    acted = case.step["n"] if case.step else len(case.timeline["steps"])
    if not any(step["n"] < acted for step in found):
        yield say("Nobody: no approval was recorded before the action." if case.step else "Nobody: no approval was recorded.", "open")
    for step in found[:6]:
        detail = step.get("detail") or {}
        when = "before the action" if step["n"] < acted else "after the action"
        rows = (
            ("decision", str(detail.get("decision") or "not recorded")),
            ("by", str(step.get("actor") or detail.get("by") or "not recorded")),
            ("when", f"step {step['n'] + 1}, {when if case.step else 'in this session'}, {case.clock.both(step.get('at'))}"),
        )
        yield Part("cells", rows=(*rows, ("said", step["text"][:300])) if step.get("text") else rows)
    if len(found) > 6:
        yield note(f"And {len(found) - 6} more decisions in annex A.")


def _rule(case: Case) -> Iterator[Part]:
    if not case.stated.rule:
        yield say(NOT_STATED, "open")
        yield note("A rule is quoted when a person chooses a passage of the instruction; which rule was applied is not in the records.")
        return
    yield Part("quote", case.stated.rule)
    yield note(f"A passage of the instruction in annex B, chosen by {case.preparer.name}. That it was applied is not in the records.")


def _evidence(case: Case) -> Iterator[Part]:
    if case.step is None:
        yield say("There is no action whose values could be traced.")
        return
    origins = case.step["tool"].get("origins")
    if not origins:
        yield say(
            "The arguments were not recorded." if origins is None else "The call has no value that could have been seen before.", "open"
        )
        return
    rows = []
    for origin in origins[:MOST_ORIGINS]:
        name = origin["pointer"].lstrip("/").replace("~1", "/").replace("~0", "~") or "arguments"
        places = [f"step {n + 1}" for n in origin["steps"][:4]] + (["the instruction"] if origin.get("system_prompt") else [])
        rows.append((name, f"seen before in {', '.join(places)}" if places else "seen nowhere before"))
    yield Part("cells", rows=tuple(rows))
    more = f" {len(origins) - MOST_ORIGINS} more values stand in annex A." if len(origins) > MOST_ORIGINS else ""
    yield note(f"Where each value of the arguments stands in what the agent had seen. Having been seen is not having been relied on.{more}")


def _reasoning(case: Case) -> Iterator[Part]:
    acted = case.step["n"] if case.step else len(case.timeline["steps"])
    before = [step for step in case.timeline["steps"][:acted] if step["kind"] == "reasoning"]
    call = case.step.get("model_call") if case.step else None
    own = [step for step in before if call is not None and step.get("model_call") == call]
    chosen = own or before[-1:]
    if not chosen:
        yield say("None was recorded before the action." if case.step else "None was recorded.", "open")
        return
    if not own and case.step:
        yield say("None was recorded for the model call that led to the action. The last one before it:", "open")
    for step in chosen[-2:]:
        text = step.get("text") or ""
        where = f"annex A, step {step['n'] + 1}"
        yield say(f"Form: {present.FORMS.get(step.get('form') or 'unknown', present.FORMS['unknown'])}. Step {step['n'] + 1}.")
        yield from excerpt(text, EXCERPT, where) if text.strip() else [say("Its text was not recorded.", "open")]
    yield note(NOT_PROOF)


def _checks(case: Case) -> Iterator[Part]:
    if case.step is None:
        yield say("There is no call to check.")
        return
    for found in present.checks(case.step["tool"]):
        yield say(_sentence(found.text), "good" if found.tone == "good" else "bad" if found.tone == "bad" else "open")
    for finding in case.timeline.get("findings") or ():
        if finding.get("step") == case.step["n"]:
            yield say(_sentence(str(finding["message"])), "bad")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _unknown(timeline: dict[str, Any]) -> Iterator[Part]:
    gaps = timeline["completeness"]["gaps"]
    if timeline["completeness"]["verdict"] == "unevaluable":
        yield say("Cannot be checked: nothing in the records was understood as a model call or a step.", "open")
    elif not gaps:
        yield say("No gap was found in what was received. What was never sent cannot be known.")
    for gap in gaps[:MOST_UNKNOWN]:
        yield say(present.gap_text(gap), "open")
    if len(gaps) > MOST_UNKNOWN:
        yield note(f"And {len(gaps) - MOST_UNKNOWN} more gaps in annex D.")


def _proven(case: Case) -> Iterator[Part]:
    found = case.proofs
    checked = [batch for batch in found.batches if batch.agrees is not None]
    good = [batch for batch in checked if batch.agrees]
    size = f"{len(found.records):,} record{'' if len(found.records) == 1 else 's'}{' (the first)' if found.more else ''}"
    if found.faults or len(good) < len(checked):
        yield say("Stored evidence is not as it was acknowledged. Do not rely on it before this is explained:", "bad")
        yield from (say(_sentence(fault), "bad") for fault in found.faults[:6])
    if good:
        yield say(
            f"The {size} of this session are as they were stored: when this was prepared, every digest was computed again from "
            f"{'all' if len(good) == len(found.batches) else 'a part of'} the stored batches, {len(good):,} of {len(found.batches):,}, and "
            "gives the root that was acknowledged to the sender.",
            "good" if len(good) == len(found.batches) and not found.more else "",
        )
    if len(checked) < len(found.batches):
        yield say(f"{len(found.batches) - len(checked):,} batches were too many to compute again here. Annex E has their roots.", "open")
    yield note("Annex E lists each record with its digest and batch; annex F says how to check them.")


def _not_proven() -> Iterator[Part]:
    yield say(
        "That the reasoning caused the action. That everything that happened was sent. That the senders' clocks were right. "
        "That nobody who runs the database replaced a batch whole: a receipt that the sender kept settles that."
    )


def _withheld(case: Case) -> Iterator[Part]:
    fields = sorted({name for record in case.proofs.records for name in record.withheld})
    count = sum(1 for record in case.proofs.records if record.withheld)
    if count:
        yield say(f"Not shown of {count:,} record{'' if count == 1 else 's'}: {', '.join(fields)}. The digests still hold.", "open")
        yield note("It was erased, or is restricted. By which request is said where the timeline lists what is missing.")
    else:
        yield say("Nothing was erased from the records, and nothing was left out for the reader's role.")
    sealed = [s["n"] + 1 for s in case.timeline["steps"] if s["kind"] == "reasoning" and s.get("form") in ("encrypted", "redacted")]
    if sealed:
        yield say(f"The provider withheld or encrypted reasoning at step {', '.join(map(str, sealed[:12]))}.", "open")


def _prepared(case: Case) -> Iterator[Part]:
    who = case.preparer
    yield Part("cells", rows=(("by", who.name), ("role", ", ".join(who.roles) or "none"), ("at", case.clock.both(who.at))))
    yield note("That it was prepared is recorded among the evidence.")


def _times(case: Case) -> Iterator[Part]:
    zone = case.clock.name
    yield say("All times are in UTC." if zone == "UTC" else f"The time zone of the case is {zone}; UTC stands beside it.")
    yield note(f"The session began {case.clock.both(case.timeline['started_at'])} and ended {case.clock.both(case.timeline['ended_at'])}.")
