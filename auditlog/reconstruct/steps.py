"""Owns the steps of a session: walks the model calls in the order in which they happened and puts each thing down once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from auditlog.reconstruct.calls import JoinedCall
from auditlog.reconstruct.errors import Told
from auditlog.reconstruct.keys import arguments_key, flat
from auditlog.reconstruct.step import (
    AFTER,
    ANSWER,
    NEIGHBOURS,
    PROMPT,
    UNIQUE,
    UNNAMED,
    Asked,
    Place,
    Prompt,
    Step,
    Tooling,
    by_name,
    made_up,
    message_text,
    opening,
)
from auditlog.reconstruct.tree import key_of
from auditlog.reconstruct.wrapped import Answers, Said
from auditlog.vocabulary import AgentRun, Approval, Call, Failure, Media, Message, MessageRecord, Reasoning, Result, Text, Where


class Builder:
    """Collects the steps. The n-th occurrence of a text in a prompt is the n-th step with that text."""

    def __init__(self, prompt_call_ids: set[str], errors: Told) -> None:
        self.steps: list[Step] = []
        self.known: dict[tuple[str, str], list[Step]] = defaultdict(list)
        self.by_id: dict[str, list[Step]] = defaultdict(list)
        self.by_key: dict[tuple[str, bytes | None], list[Step]] = defaultdict(list)
        self.unanswered: dict[str, list[Step]] = defaultdict(list)
        self.prompt_call_ids, self.errors = prompt_call_ids, errors
        self.systems: dict[str, int] = {}  # text -> time at which it was first in force
        self.records_seen = Prompt()
        self.last_answer: dict[str, int] = {}  # trace -> end of its last answer that was not a tool call
        self.covered: set[tuple[str, str]] = set()  # texts that are pieces of known steps, or several of them in one
        self.lost: dict[Any, tuple[Result, Place, Sequence[Where]]] = {}  # results whose call nobody has told of so far
        self.approvals: dict[str, Asked] = {}
        self.said: Said | None = None
        self._flat: dict[str, str] = {}
        self._prompts: dict[tuple[str, ...], tuple[tuple[Message, ...], Prompt]] = {}

    # -- small things ----------------------------------------------------------------------------------------------------------

    def flat(self, text: str) -> str:
        found = self._flat.get(text)
        if found is None:
            found = self._flat[text] = flat(text)
        return found

    def add(self, step: Step) -> Step:
        self.steps.append(step)
        if step.kind != "tool_call":
            self.known[(step.kind, self.flat(step.text))].append(step)
        return step

    def system(self, text: str, at: int) -> None:
        if text and (text not in self.systems or at < self.systems[text]):
            self.systems[text] = at

    def add_call(self, call: Call, place: Place, at: int, wheres: Iterable[Where]) -> Step:
        step = Step("tool_call", place, at, wheres)
        step.tool = Tooling(call)
        self.steps.append(step)
        for call_id in step.tool.ids:
            self.by_id[call_id].append(step)
        self.by_key[step.tool.key].append(step)
        self.unanswered[call.name].append(step)
        return step

    # -- one model call --------------------------------------------------------------------------------------------------------

    def model_call(self, n: int, call: JoinedCall) -> None:
        for text in call.system:
            self.system(text, call.start)
        self._prompt(n, call)
        self._answer(n, call)
        if not any(isinstance(p, Call) for p in call.output) and call.output:
            for trace in call.traces:
                self.last_answer[trace] = max(self.last_answer.get(trace, 0), call.end)

    def _prompt(self, n: int, call: JoinedCall) -> None:
        counts, known = self._continued(call.input)
        counts.result_ids.update(p.call_id for m in call.input[known:] for p in m.parts if isinstance(p, Result) and p.call_id)
        history = any(m.role in ("assistant", "tool") for m in call.input)
        for position, message in enumerate(call.input[known:], known):
            place = (call.start, n, PROMPT, position)
            if message.role == "system":
                self.system(message_text(message), call.start)
            elif message.role == "user":
                self._asked(message, place, call, counts, history)
                self._parts(message, place, call, counts, (Result, Approval))
            else:
                self._parts(
                    message, place, call, counts, (Text, Reasoning, Call, Result, Approval), call.input[position : position + NEIGHBOURS]
                )
        self._prompts[opening(call.input)] = (call.input, counts)

    def _continued(self, messages: tuple[Message, ...]) -> tuple[Prompt, int]:
        """(what was counted, how many messages are done) where a prompt extends an earlier one: a long conversation stays linear."""
        before, counts = self._prompts.get(opening(messages), ((), Prompt()))
        if len(before) >= len(messages) or messages[: len(before)] != before:
            return Prompt(), 0
        return counts, len(before)

    def _asked(self, message: Message, place: Place, call: JoinedCall, counts: Prompt, history: bool) -> None:
        text = message_text(message)
        if not text:
            return
        key = ("user_message", self.flat(text))
        counts[key] += 1
        known = self.known[key]
        if len(known) >= counts[key] and (history or not self._asked_anew(known[counts[key] - 1], call)):
            return
        step = self.add(Step("user_message", place, call.start, call.wheres, text))
        step.traces = call.traces

    def _asked_anew(self, earlier: Step, call: JoinedCall) -> bool:
        """The same words in a new trace, after the earlier turn was answered, without its history: asked a second time."""
        if not earlier.traces or set(earlier.traces) & set(call.traces):
            return False
        return any(earlier.at <= self.last_answer.get(trace, 0) <= call.start for trace in earlier.traces)

    def _parts(
        self, message: Message, place: Place, call: JoinedCall, counts: Prompt, kinds: tuple[type, ...], onward: tuple[Message, ...] = ()
    ) -> None:
        """The parts of one message of a prompt: known already in nearly every case; if not, a later prompt is all there is."""
        for index, part in enumerate(message.parts):
            if not isinstance(part, kinds):
                continue
            spot = (place[0], place[1], place[2], place[3] * 1000 + min(index, 999))
            if isinstance(part, Call):
                step = self._find_call(part, counts)
                if step is None:
                    step = self.add_call(part, spot, call.start, call.wheres)
                    step.from_prompt, step.agent = True, call.agent
                elif step.tool is not None and step.tool.arguments is None and part.arguments is not None:
                    step.tool.arguments = part.arguments
                counts.calls.append(step)
                counts.seen.add(id(step))
            elif isinstance(part, Result):
                self._answered(part, counts, spot, call.wheres)
            elif isinstance(part, Approval):
                self.approval(part, spot, call.wheres)
            elif isinstance(part, Text | Reasoning) and part.text.strip():
                self._repeated(part, spot, call, counts, onward)

    def _repeated(self, part: Text | Reasoning, spot: Place, call: JoinedCall, counts: Prompt, onward: tuple[Message, ...]) -> None:
        kind = "reasoning" if isinstance(part, Reasoning) else "assistant_message"
        key = (kind, self.flat(part.text))
        counts[key] += 1
        if len(self.known[key]) >= counts[key]:
            known = self.known[key][counts[key] - 1]
            if isinstance(part, Reasoning) and known.form in (None, "unknown"):
                known.form = part.form  # a later prompt has the mark that the answer lacked
            return
        if kind == "reasoning" and self._was_reasoning(part, key[1]):
            return
        if kind == "assistant_message" and len(self.known[("reasoning", key[1])]) >= counts[key]:
            return  # a library that repeats reasoning as if it had been said
        if (kind, key[1]) in self.covered:
            return
        anchor = self._anchor(onward)
        if anchor is None:
            step = self.add(Step(kind, spot, call.start, call.wheres, part.text))
            step.from_prompt, step.agent = True, call.agent
        else:  # the rest of that answer is known: this belongs right before it
            before = (anchor.place[0], anchor.place[1], anchor.place[2], anchor.place[3] - 500 + min(spot[3] % 1000, 400))
            step = self.add(Step(kind, before, anchor.at, call.wheres, part.text))
            step.call, step.agent = anchor.call, anchor.agent
        step.form = part.form if isinstance(part, Reasoning) else None

    def _anchor(self, onward: tuple[Message, ...]) -> Step | None:
        """The first known thing of a model's answer that stands in the same message, or in one right after it."""
        for message in onward:
            if message.role != "assistant":
                return None
            for part in message.parts:
                known: list[Step] = []
                if isinstance(part, Call) and part.call_id:
                    known = self.by_id.get(part.call_id, [])
                elif isinstance(part, Text):
                    known = self.known.get(("assistant_message", self.flat(part.text)), [])
                found = next((s for s in known if s.call is not None), None)
                if found is not None:
                    return found
        return None

    def _was_reasoning(self, part: Text | Reasoning, text: str) -> bool:
        """A later prompt knows that what was taken for an answer was reasoning."""
        taken = self.known.get(("assistant_message", text))
        if not taken:
            return False
        step = taken.pop(0)
        step.kind, step.form = "reasoning", part.form if isinstance(part, Reasoning) else None
        self.known[("reasoning", text)].append(step)
        return True

    def _find_call(self, part: Call, counts: Prompt) -> Step | None:
        part = Call(part.name, None, part.arguments, part.arguments_raw) if made_up(part) else part
        for call_id in (part.call_id, *part.other_ids):
            if call_id and call_id in self.by_id:
                key: Any = ("id", call_id)
                counts[key] += 1
                known = self.by_id[call_id]
                return known[min(counts[key], len(known)) - 1]
        for step in self.by_key.get(Tooling(part).key, ()):
            tool = step.tool
            if tool is None or id(step) in counts.seen or (part.call_id and tool.ids & self.prompt_call_ids):
                continue  # a prompt names that call by its own ID: this is another one with the same arguments
            if part.call_id:
                tool.call_id = tool.call_id or part.call_id
                tool.ids.add(part.call_id)
                self.by_id[part.call_id].append(step)
            return step
        return None

    def _answered(self, part: Result, counts: Prompt, place: Place, wheres: Sequence[Where]) -> None:
        part = by_name(part, self.unanswered)
        if part.call_id and part.call_id in self.by_id:
            counts["result", part.call_id] += 1
            known = self.by_id[part.call_id]
            tool = known[min(counts["result", part.call_id], len(known)) - 1].tool
            if tool is not None:
                tool.answer(part)
            return
        step = counts.next_unanswered(part)
        if step is None:
            waiting = self.unanswered.get(part.name or "", []) if part.name else [s for same in self.unanswered.values() for s in same]
            open_calls = sorted((s for s in waiting if s.tool is not None and not s.tool.returned), key=lambda s: s.place)
            step = next((s for s in open_calls if s.tool is not None and (not part.call_id or not s.tool.ids)), None)
        if step is None or step.tool is None:
            self.lost.setdefault((part.call_id, part.name, arguments_key(part.result, None)), (part, place, wheres))
            return
        step.tool.answer(part)
        if part.call_id:
            step.tool.call_id = part.call_id  # what the result names is the call's ID; the other was the ID of an item
            step.tool.ids.add(part.call_id)
            self.by_id[part.call_id].append(step)

    def _answer(self, n: int, call: JoinedCall) -> None:
        said: dict[str, list[str]] = defaultdict(list)
        for position, part in enumerate(call.output):
            place = (call.end, n, ANSWER, position * 1000)
            step: Step | None = None
            if isinstance(part, Reasoning):
                step = self._new("reasoning", part.text, place, call)
                step.form = part.form
            elif isinstance(part, Text) and part.text.strip():
                step = self._new("assistant_message", part.text, place, call)
            elif isinstance(part, Approval):
                self.approval(part, (call.end, n, ANSWER, position * 1000 + 999), call.wheres)
            elif isinstance(part, Media):
                step = self.add(
                    Step("assistant_message", place, call.end, call.wheres, f"[{part.media_type or 'media'}] {part.uri}".strip())
                )
            elif isinstance(part, Result):  # of a tool that the provider ran itself, within the answer
                self._answered(part, Prompt(), (call.end, n, ANSWER, position * 1000), call.wheres)
            elif isinstance(part, Call) and not self._left_over(part):
                step = self.add_call(part, place, call.end, call.wheres)
            if step is not None:
                step.call, step.agent = n, call.agent
                if step.kind != "tool_call":
                    said[step.kind].append(self.flat(step.text))
        for kind, texts in said.items():  # a later prompt may join the pieces of one answer, or cut it into lines
            self.covered.add((kind, "".join(texts)))
            for step in self.steps[-len(call.output) :] if call.output else ():
                if step.kind == kind and "\n" in step.text:
                    self.covered.update((kind, self.flat(line)) for line in step.text.split("\n"))
        if call.error:
            step = Step("error", (call.end, n, AFTER, 0), call.end, call.wheres, call.error)
            for key in call.keys:
                self.errors.tell(key, call.error)
            step.call, step.agent = n, call.agent
            self.add(step)

    def _left_over(self, part: Call) -> bool:
        """A call of an earlier answer that a library left on this one: the same ID, and one that nobody numbers from zero."""
        if not part.call_id or len(part.call_id) < UNIQUE or made_up(part):
            return False
        return any(s.tool is not None and s.tool.key == Tooling(part).key for s in self.by_id.get(part.call_id, ()))

    def _new(self, kind: str, text: str, place: Place, call: JoinedCall) -> Step:
        return self.add(Step(kind, place, call.end, call.wheres, text))

    # -- what stands outside model calls ---------------------------------------------------------------------------------------

    def record(self, record: MessageRecord) -> None:
        """A message recorded on its own: the n-th record of a text is its n-th occurrence."""
        where, message = record.where, record.message
        for index, part in enumerate(message.parts):
            place = (where.start, 1 << 30, PROMPT, where.order * 1000 + index)
            if isinstance(part, Call):
                step = self._find_call(part, self.records_seen) or self.add_call(part, place, where.start, [where])
                step.stated_by([where])
                self.records_seen.seen.add(id(step))
            elif isinstance(part, Result):
                self._answered(part, self.records_seen, place, [where])
            elif isinstance(part, Text | Reasoning) and part.text.strip():
                self._record_text(record, part, place)

    def _record_text(self, record: MessageRecord, part: Text | Reasoning, place: Place) -> None:
        if record.message.role == "system":
            self.system(part.text, record.where.start)
            return
        kind = "reasoning" if isinstance(part, Reasoning) else "user_message" if record.message.role == "user" else "assistant_message"
        key = (kind, self.flat(part.text))
        self.records_seen[key] += 1
        known = self.known[key]
        if len(known) >= self.records_seen[key]:
            step = known[self.records_seen[key] - 1]
            step.stated_by([record.where])
            if record.where.start < step.at and record.where.start:
                step.at, step.place = record.where.start, place
            return
        step = self.add(Step(kind, place, record.where.start, [record.where], part.text))
        step.agent = record.agent if kind != "user_message" else None
        step.form = part.form if isinstance(part, Reasoning) else None

    def results_without_calls(self) -> None:
        """What came back happened, even where the call that it answers was never recorded."""
        answers = Answers(self.steps)
        for part, place, wheres in sorted(self.lost.values(), key=lambda found: found[1]):
            told = self.by_id.get(part.call_id or "", ())
            if told and told[0].tool is not None:
                told[0].tool.answer(part)
            elif not answers.knows(part.result):
                step = self.add_call(Call(part.name or UNNAMED, part.call_id), place, place[0], wheres)
                step.from_prompt = True
                if step.tool is not None:
                    step.tool.only_result = True
                    step.tool.answer(part)

    def agent_run(self, run: AgentRun) -> None:
        """What an agent's own span says counts only where no model call said it."""
        for text in run.system:
            self.system(text, run.where.start)
        for messages, time in ((run.input, run.where.start), (run.output, run.where.end or run.where.start)):
            for index, message in enumerate(messages):
                self.agent_message(run, message, (time, 1 << 29, PROMPT if time == run.where.start else AFTER, index))

    def agent_message(self, run: AgentRun, message: Message, place: Place) -> None:
        if message.role == "system":
            self.system(message_text(message), run.where.start)
            return
        counts = Prompt()
        for part in message.parts:
            if isinstance(part, Result):
                self._answered(part, counts, place, [run.where])
            elif isinstance(part, Approval):
                self.approval(part, place, [run.where])
            elif isinstance(part, Call):
                if self._find_call(part, counts) is None:
                    self.add_call(part, place, place[0], [run.where]).agent = run.name
            elif isinstance(part, Text | Reasoning) and part.text.strip():
                kind = "reasoning" if isinstance(part, Reasoning) else "user_message" if message.role == "user" else "assistant_message"
                text = self.flat(part.text)
                if self.known.get((kind, text)) or (kind, text) in self.covered or self._joins(text, run.where):
                    continue
                step = self.add(Step(kind, place, place[0], [run.where], part.text))
                step.agent = run.name if kind != "user_message" else None

    def _joins(self, text: str, where: Where) -> bool:
        self.said = self.said or Said(self.steps)
        return self.said.joined(text, where.start, where.end)

    def approval(self, part: Approval, place: Place, wheres: Sequence[Where]) -> None:
        """Asked once and decided once, however many prompts repeat it; the decision is what happened last."""
        known = self.approvals.get(part.approval_id)
        if known is None or (known.approved is None and part.approved is not None):
            decided = self.approvals[part.approval_id] = Asked(place, wheres)
            decided.call_ids = known.call_ids if known is not None else []
            decided.approved, decided.reason = part.approved, part.reason
        asked = self.approvals[part.approval_id]
        named = part.call_id or (part.call.call_id if part.call is not None else None)
        asked.call_ids += [i for i in (named, part.approval_id) if i and i not in asked.call_ids]
        if part.call is not None and not any(i in self.by_id for i in asked.call_ids):
            self.add_call(part.call, place, place[0], wheres)

    def failures(self, facts: Sequence[Failure]) -> None:
        """Errors that nothing else shows."""
        for fact in sorted(facts, key=lambda f: (-self.errors.tree.depth(key_of(f.where)), f.where.end, f.where.event_id)):
            key = key_of(fact.where)
            if self.errors.knows(key, fact.text) or (fact.kind is not None and self.errors.explains(key, fact.kind)):
                continue
            self.errors.tell(key, fact.text)
            at = fact.where.end or fact.where.start
            self.add(Step("error", (at, 1 << 29, AFTER, 0), at, [fact.where], fact.text))
