"""Owns the checks of exports as jobs: whatever ends a worker, the next one goes on, and what was asked for is what comes out."""

from __future__ import annotations

import errno
import io
import os
import signal
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from auditlog import tasks
from auditlog.derive.timeline import build
from auditlog.disclosure import archive, exports, pace, scope, work
from auditlog.disclosure.exports import Export
from auditlog.disclosure.scope import Asked
from auditlog.errors import Problem
from auditlog.export import files
from auditlog.export import folder as folders
from auditlog.export.choice import Withheld
from auditlog.export.forms.write import FORMS
from auditlog.retention import erasures, fulfil, holds
from auditlog.search import evidence
from auditlog.store.connect import connect
from auditlog.store.projects import project_secrets
from auditlog.verify import standalone
from auditlog.web.handed import Pages
from tests.damage import shortened
from tests.db.api.conftest import World
from tests.db.api.talks import talk
from tests.db.api.test_addresses import SESSION
from tests.db.disclosure.conftest import CARLA, ask, now


def verified(folder: Path) -> bool:
    return standalone.main([str(folder)], io.StringIO()) == 0


def killed(job: Export, kept: int) -> None:
    """A worker that dies by -9 after it has completed so many files."""
    child = os.fork()
    if child == 0:
        inherited, connection.connection = connection.connection, None  # the parent's, which stays as it is
        keep = files.Draft.keep

        def deadly(self: files.Draft, path: str, records: int | None) -> None:
            nonlocal kept
            keep(self, path, records)
            kept -= 1
            if kept == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        files.Draft.keep = deadly  # type: ignore[method-assign]
        work.work(job.id)
        os._exit(inherited is not None)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def test_a_worker_killed_twice_leaves_an_export_that_the_next_ones_finish(refund: World, hints: list[int], monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "CHUNK", 3_000)
    job = ask(refund)
    assert (job.state, hints) == ("waiting", [job.id])
    killed(job, 2)
    assert now(job).state == "running" and len(list(job.folder.glob("events/*"))) == 2
    with connect("web", autocommit=True) as conn:
        assert job.id in work.open_exports(conn)  # nobody works on it: it is taken up by the next hint
    killed(job, 3)
    assert len(list(job.folder.glob("*/*.jsonl"))) == 5
    tasks.run_export(job.id)
    done = now(job)
    assert (done.state, done.error, done.attempts) == ("done", "", 3) and verified(job.folder)
    assert done.counts and done.counts["events"] == done.events > 3 and done.manifest_sha256 and done.expires_at
    assert done.size == sum(path.stat().st_size for path in job.folder.rglob("*") if path.is_file())


def test_what_was_finished_by_a_worker_that_died_before_it_could_say_so_is_finished(refund: World) -> None:
    job = ask(refund)
    work.work(job.id)
    refund.bench.owner.execute("UPDATE export_job SET state = 'running', finished_at = NULL, counts = NULL, manifest_sha256 = NULL")
    work.work(job.id)
    assert now(job).state == "done" and now(job).manifest_sha256 and verified(job.folder)


def test_nobody_else_works_on_it_meanwhile(refund: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job, fill = ask(refund), folders.fill
    seen: list[Any] = []

    def watched(*given: Any) -> Any:
        with connect("web", autocommit=True) as conn:
            seen.extend((work.work(job.id), work.open_exports(conn)))
        return fill(*given)

    monkeypatch.setattr("auditlog.disclosure.work.fill", watched)
    work.work(job.id)
    assert seen == [False, []] and now(job).state == "done"


def test_a_pause_stops_it_within_its_queries_and_a_resume_goes_on(refund: World, hints: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "TOLD_EVERY", 0.0)
    job, tell = ask(refund), pace.Pace.tell
    conn, project = evidence.raw_connection(), refund.project.pk

    def pausing(self: pace.Pace, written: int) -> None:
        with connect("web", autocommit=True) as other:
            exports.pause(other, CARLA, project, job.id)
        tell(self, written)

    monkeypatch.setattr(pace.Pace, "tell", pausing)
    work.work(job.id)
    assert now(job).state == "paused" and not (job.folder / "manifest.json").exists()
    with pytest.raises(Problem, match="is paused"):
        exports.pause(conn, CARLA, project, job.id)
    assert work.work(job.id) is False and now(job).state == "paused"
    monkeypatch.setattr(pace.Pace, "tell", tell)
    exports.resume(conn, CARLA, project, job.id)
    assert hints == [job.id, job.id] and now(job).state == "waiting"
    work.work(job.id)
    assert now(job).state == "done" and verified(job.folder)


def test_a_slice_ends_where_a_file_is_complete_and_the_next_one_goes_on(refund: World, hints: list[int], monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "CHUNK", 3_000)
    monkeypatch.setattr(pace, "TOLD_EVERY", 0.0)
    monkeypatch.setattr(pace, "SLICE", 0.0)
    job = ask(refund)
    turns = 0
    while now(job).state != "done":
        tasks.run_export(job.id)
        turns += 1
        assert turns < 100
    assert turns > 1 and len(hints) == turns and verified(job.folder)  # one for the request, one for each that was not the last


def test_a_slice_ends_among_the_other_forms_too_and_none_counts_an_event_twice(refund: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(pace, "TOLD_EVERY", 0.0)
    job, told, turns = ask(refund, formats=list(FORMS)), set[int](), 1
    tell = pace.Pace._tell

    def telling(self: pace.Pace, at: float) -> None:
        told.add(self.events)
        tell(self, at)

    monkeypatch.setattr(pace.Pace, "_tell", telling)
    with monkeypatch.context() as evidence_first:  # then each slice ends with the next complete file
        evidence_first.setattr("auditlog.export.forms.write.write", lambda *_: (_ for _ in ()).throw(pace.SliceOver))
        assert work.work(job.id, Pages())
    monkeypatch.setattr(pace, "SLICE", 0.0)
    while work.work(job.id, Pages()):
        turns += 1
        assert now(job).attempts <= 1 and turns < 100  # each completed something
    done = now(job)
    assert done.state == "done" and turns > 3 and verified(job.folder), done.error
    assert done.counts and told == {done.counts["events"]} | (told & {0})


@pytest.mark.parametrize("question", [1, 2, 3, 4])
@pytest.mark.parametrize("paused", [False, True], ids=["its turn is over", "paused"])
def test_an_export_that_ends_while_a_session_is_read_goes_on_with_this_session(
    refund: World, monkeypatch: pytest.MonkeyPatch, question: int, paused: bool
) -> None:
    whole = ask(refund, formats=["html"])
    while work.work(whole.id, Pages()):
        pass
    job, asked = ask(refund, formats=["html"]), 0
    execute = pace.Paced.execute

    def ends_once(self: pace.Paced, *query: Any, **how: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == question:
            raise pace.Stopped if paused else pace.SliceOver
        return execute(self, *query, **how)

    def building(*arguments: Any) -> Any:
        with monkeypatch.context() as inside:
            inside.setattr(pace.Paced, "execute", ends_once)
            return build(*arguments)

    monkeypatch.setattr("auditlog.export.forms.sessions.build", building)
    assert work.work(job.id, Pages()) is not paused and asked == question
    monkeypatch.setattr("auditlog.export.forms.sessions.build", build)
    while work.work(job.id, Pages()):
        pass
    pages = [sorted(path.name for path in (one.folder / "sessions").iterdir()) for one in (whole, job)]
    assert pages[0] == pages[1] != [] and now(job).state == "done" and verified(job.folder)
    assert not any(b"could not be made" in path.read_bytes() for path in (job.folder / "sessions").iterdir())


def test_it_writes_no_faster_than_its_rate(refund: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = iter(range(1, 10_000))
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock) * 1.0)
    monkeypatch.setattr(pace.Pace, "_tell", lambda self, now: None)
    monkeypatch.setenv("AUDITLOG_EXPORT_RATE", "1000000")
    with files.Files(tmp_path / "folder") as opened:
        made = pace.Pace(refund.bench.owner, 1, opened, 10)
        opened.write("events/00001.jsonl", bytes(5_500_000), 1)
        made.step()
    assert len(slept) == 5  # a second passes each time somebody looks at the clock


def test_what_is_written_goes_to_the_disk_as_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int, int]] = []

    def advise(number: int, start: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED
        sent.append((start, length, os.fstat(number).st_size))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    line = bytes(1_000_000)
    with files.Files(tmp_path / "folder") as opened:
        draft = files.Draft(opened)
        for _ in range(11):
            draft.add(line)
        assert sent == [(0, 6_000_000, 6_000_000)]  # after 4 MiB with the next lines that are written at once; none left in the buffer
        draft.add(bytes(4_000_000))
        assert sent[1:] == [(6_000_000, 9_000_000, 15_000_000)]
        draft.keep("events/00001.jsonl", draft.lines)
    assert (tmp_path / "folder" / "events" / "00001.jsonl").read_bytes() == line * 15


def test_a_full_disk_is_said_and_a_resume_goes_on(refund: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ask(refund)
    kept = files.Draft.keep

    def full(self: files.Draft, path: str, records: int | None) -> None:
        if path == "parts.jsonl":
            raise OSError(errno.ENOSPC, "No space left on device")
        kept(self, path, records)

    monkeypatch.setattr(files.Draft, "keep", full)
    work.work(job.id)
    assert now(job).state == "failed" and "make room, then resume" in now(job).error
    monkeypatch.setattr(files.Draft, "keep", kept)
    exports.resume(evidence.raw_connection(), CARLA, refund.project.pk, job.id)
    work.work(job.id)
    assert now(job).state == "done" and verified(job.folder)


def test_a_worker_that_always_dies_is_not_tried_for_ever(refund: World) -> None:
    job = ask(refund)
    refund.bench.owner.execute("UPDATE export_job SET attempts = %s WHERE id = %s", (work.ATTEMPTS, job.id))
    work.work(job.id)
    assert now(job).state == "failed" and "20 attempts" in now(job).error


def events(job: Export) -> int:
    work.work(job.id)
    done = now(job)
    assert done.state == "done" and verified(job.folder), done.error
    return done.events


def test_a_scope_is_everything_sessions_a_search_a_hold_or_a_class(refund: World) -> None:
    conn, key = evidence.raw_connection(), refund.key_of(SESSION)
    hold = holds.place(conn, CARLA, refund.project.pk, "Case 7", "Subpoena", {"session_id": SESSION})
    mine = events(ask(refund, Asked(sessions=[key])))
    assert mine > 3
    for asked in (Asked(search={"session_id": SESSION}), Asked(hold=str(hold.id)), Asked(class_no=1)):
        assert events(ask(refund, asked)) == mine
    assert events(ask(refund, Asked(since="2020-01-01"))) == events(ask(refund)) >= mine
    assert exports.get(conn, refund.project.pk, ask(refund, Asked(sessions=[key])).id).expected is None


def test_what_was_found_is_written_down_once(refund: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ask(refund, Asked(search={"session_id": SESSION}))
    fill = folders.fill
    monkeypatch.setattr("auditlog.disclosure.work.fill", lambda *_: (_ for _ in ()).throw(OSError("gone")))
    work.work(job.id)
    assert now(job).state == "failed" and now(job).chosen_at and now(job).expected
    monkeypatch.setattr("auditlog.disclosure.work.fill", fill)
    monkeypatch.setattr(scope, "choose", lambda *_: pytest.fail("asked twice"))
    exports.resume(evidence.raw_connection(), CARLA, refund.project.pk, job.id)
    assert events(job) == now(job).expected


REFUSED = [
    (Asked(), "scope_empty"),
    (Asked(everything=True, class_no=1), "parameter_invalid"),
    (Asked(search={"customer_id": "nobody"}), "export_empty"),
    (Asked(class_no=77), "export_empty"),
    (Asked(until="2020-01-01"), "export_empty"),
    (Asked(search={"colour": "red"}), "parameter_invalid"),
    (Asked(since="yesterday"), "parameter_invalid"),
    (Asked(since="2026-02-01", until="2026-01-01"), "parameter_invalid"),
    (Asked(sessions=["nobody"]), "not_found"),
    (Asked(hold="7a"), "not_found"),
]


def test_what_cannot_be_exported_is_refused_and_nothing_is_begun(refund: World, hints: list[int]) -> None:
    for asked, code in REFUSED:
        with pytest.raises(Problem) as refused:
            ask(refund, asked)
        assert refused.value.code == code, asked
    assert not exports.listed(evidence.raw_connection(), refund.project.pk) and not hints


def test_what_is_withheld_is_left_out_with_its_reason(refund: World) -> None:
    event = refund.api.json("events", session=refund.key_of(SESSION))["results"][0]["id"]
    whole = events(ask(refund))
    job = ask(refund, withheld=[Withheld(event, None, "third party", "Art. 15(4) GDPR")])
    assert events(job) == whole - 1 and "third party" in (job.folder / "withheld.jsonl").read_text()


def test_the_same_client_key_is_the_same_export(refund: World) -> None:
    first = ask(refund, client_key="k1")
    assert ask(refund, client_key="k1").id == first.id and ask(refund, client_key="k2").id != first.id
    with pytest.raises(Problem, match="another scope, recipient or purpose"):
        ask(refund, client_key="k1", purpose="Case 8")


def test_files_expire_and_are_removed_and_the_record_stays(refund: World) -> None:
    old, cancelled, kept = ask(refund), ask(refund), ask(refund)
    for job in (old, kept):
        work.work(job.id)
    exports.cancel(evidence.raw_connection(), CARLA, refund.project.pk, cancelled.id)
    refund.bench.owner.execute("UPDATE export_job SET expires_at = now() - interval '1 hour' WHERE id = %s", (old.id,))
    assert work.tidy() == [old.id, cancelled.id] and work.tidy() == []
    assert [now(job).state for job in (old, cancelled, kept)] == ["expired", "cancelled", "done"]
    assert [path.name for path in exports.root().iterdir()] == [str(kept.id)] and now(old).removed_at and now(old).counts
    with pytest.raises(Problem, match="its files were removed"):
        exports.finished(now(old), "downloaded")


def test_the_zip_holds_the_folder_and_is_made_in_pieces(refund: World, tmp_path: Path) -> None:
    job = ask(refund)
    work.work(job.id)
    (job.folder / "big.bin").write_bytes(os.urandom(3_000_000))
    pieces = list(archive.stream(job.folder, "auditlog-export-1"))
    assert max(map(len, pieces)) < 600_000
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as found:
        assert found.testzip() is None
        found.extractall(tmp_path / "out")
    for path in job.folder.rglob("*"):
        if path.is_file():
            assert (tmp_path / "out" / "auditlog-export-1" / path.relative_to(job.folder)).read_bytes() == path.read_bytes()
    (tmp_path / "out" / "auditlog-export-1" / "big.bin").unlink()
    assert verified(tmp_path / "out" / "auditlog-export-1")


def test_one_that_finds_nothing_sealed_says_so(refund: World) -> None:
    refund.load("openinference/chat_refund")
    job = ask(refund, Asked(search={"session_id": SESSION}))
    refund.bench.owner.execute("TRUNCATE leaf, checkpoint, tile CASCADE")
    work.work(job.id)
    assert now(job).state == "failed" and "not_found" in now(job).error


@pytest.mark.parametrize("outcome", ["erase", "restrict"])
def test_what_is_kept_of_exports_goes_where_it_may_hold_what_was_erased(refund: World, outcome: str) -> None:
    refund.bench.send(talk("s-other", 2))
    refund.bench.derive()
    refund.seal()
    key, other = refund.key_of(SESSION), refund.key_of("s-other")
    everything, mine, others = ask(refund), ask(refund, Asked(sessions=[key])), ask(refund, Asked(sessions=[other]))
    for job in (everything, mine, others):
        while work.work(job.id):
            pass
    late, at = ask(refund, Asked(sessions=[key])), datetime.now(UTC)
    asked = erasures.Asked({"session_id": SESSION}, "Letter 12", "GDPR", "letter 12", at, at + timedelta(30))
    refund.bench.derive()
    number = erasures.request(refund.bench.owner, CARLA, refund.project.pk, asked).id
    until = at + timedelta(90) if outcome == "restrict" else None
    refund.bench.derive()
    erasures.decide(refund.bench.owner, CARLA, refund.project.pk, number, erasures.Decision(outcome, "founded", (), until))
    assert work.tidy() == [], "decided is not carried out"
    refund.bench.derive()
    fulfil.carry_out(refund.bench.owner, refund.project.pk, number, project_secrets(refund.bench.owner))
    # One that began while something was being erased may have read what was not committed as gone yet.
    between = "UPDATE export_job SET started_at = (SELECT max(done_at) + (max(recorded_at) - max(done_at)) / 2 FROM erasure_item, erasure)"
    refund.bench.owner.execute(f"{between} WHERE id = {mine.id}".encode())
    assert work.tidy() == [everything.id, mine.id]
    for job in (everything, mine):
        assert (now(job).state, now(job).withdrawn_by) == ("expired", number) and not job.folder.exists()
    assert now(others).state == "done" and others.folder.exists() and now(late).state == "waiting"
    assert work.tidy() == []


def test_an_export_of_a_record_that_cannot_be_read_ends_and_names_it(refund: World) -> None:
    """Rather than leaving it out: what is missing from an export without a word was never there for whoever reads it."""
    trace_key, event_id, vals = refund.bench.rows("SELECT trace_key, event_id, vals FROM event ORDER BY event_id LIMIT 1")[0]
    refund.bench.owner.execute("UPDATE event SET vals = %s WHERE event_id = %s", (shortened(bytes(vals)), event_id))
    job = ask(refund)
    assert not work.work(job.id)
    assert now(job).state == "failed" and now(job).error.startswith(
        f"evidence_unreadable: What is stored of event {trace_key.hex}{event_id.hex} "
    )
    refund.bench.owner.execute("UPDATE event SET vals = %s WHERE event_id = %s", (bytes(vals), event_id))
    exports.resume(evidence.raw_connection(), CARLA, refund.project.pk, job.id)
    assert not work.work(job.id) and now(job).state == "done", now(job).error
