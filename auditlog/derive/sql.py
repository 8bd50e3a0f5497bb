"""Owns every SQL statement of the background pass, each with the purpose that it serves."""

from __future__ import annotations

from typing import Final, LiteralString

# Which edition the pass fills, and how far it has come.
EDITION: Final[LiteralString] = "SELECT number, system_id, watermark FROM edition WHERE state = %s ORDER BY number LIMIT 1"
STATE: Final[LiteralString] = "SELECT state FROM edition WHERE number = %s"
SYSTEM_ID: Final[LiteralString] = "SELECT system_identifier FROM pg_control_system()"
HORIZON: Final[LiteralString] = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"

# Committed batches that this edition has not consumed, in the order of their transactions. A transaction at or above the horizon
# may still be followed by an older one that commits later; below it nothing can appear any more (reading by number loses rows).
PENDING: Final[LiteralString] = """
    SELECT b.batch_no, b.project_id, CASE WHEN b.system_id = %(system_id)s THEN b.xid::text::bigint ELSE -1 END,
           (SELECT coalesce(sum(p.count), 0) FROM part p WHERE p.batch_no = b.batch_no)::bigint
    FROM batch b
    WHERE b.batch_no IN (
      (SELECT b.batch_no FROM batch b
       WHERE b.system_id = %(system_id)s AND b.xid >= %(watermark)s::text::xid8 AND b.xid < %(horizon)s::text::xid8
         AND NOT EXISTS (SELECT FROM derived d WHERE d.edition = %(edition)s AND d.batch_no = b.batch_no)
         AND NOT EXISTS (SELECT FROM derive_failure f
                         WHERE f.edition = %(edition)s AND f.batch_no = b.batch_no AND f.attempts >= %(attempts)s)
       ORDER BY b.xid, b.batch_no LIMIT %(limit)s)
      UNION ALL  -- what failed is behind the watermark by now
      (SELECT f.batch_no FROM derive_failure f WHERE f.edition = %(edition)s AND f.attempts < %(attempts)s LIMIT %(limit)s))
    ORDER BY b.xid, b.batch_no"""

# The same of batches that another cluster numbered, before a restore: all of those are committed.
PENDING_FOREIGN: Final[LiteralString] = """
    SELECT b.batch_no, b.project_id, 0::bigint,
           (SELECT coalesce(sum(p.count), 0) FROM part p WHERE p.batch_no = b.batch_no)::bigint
    FROM batch b
    WHERE b.system_id <> %(system_id)s
      AND NOT EXISTS (SELECT FROM derived d WHERE d.edition = %(edition)s AND d.batch_no = b.batch_no)
      AND NOT EXISTS (SELECT FROM derive_failure f WHERE f.edition = %(edition)s AND f.batch_no = b.batch_no AND f.attempts >= %(attempts)s)
    ORDER BY b.batch_no LIMIT %(limit)s"""

# Marks batches consumed. Whoever else did so first wins, and this transaction has to be given up.
CONSUMED: Final[LiteralString] = "INSERT INTO derived (edition, batch_no) SELECT %s, unnest(%s::bigint[])"
WATERMARK: Final[LiteralString] = "UPDATE edition SET system_id = %s, watermark = %s WHERE number = %s"
FORGET_FAILURE: Final[LiteralString] = "DELETE FROM derive_failure WHERE edition = %s AND batch_no = ANY(%s)"
FAILED: Final[LiteralString] = """
    INSERT INTO derive_failure (edition, batch_no, project_id, attempts, error, failed_at) VALUES (%s, %s, %s, 1, %s, now())
    ON CONFLICT (edition, batch_no) DO UPDATE
    SET attempts = derive_failure.attempts + 1, error = EXCLUDED.error, failed_at = EXCLUDED.failed_at
    RETURNING attempts"""

# What was set aside is pending again, whatever the watermark says.
TRY_AGAIN: Final[LiteralString] = """
    UPDATE derive_failure SET attempts = 0
    WHERE attempts >= %s AND edition = (SELECT number FROM edition WHERE state = 'current')"""

TALLY: Final[LiteralString] = """
    INSERT INTO tally (edition, project_id, events, batches, quarantined) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (edition, project_id) DO UPDATE
    SET events = tally.events + EXCLUDED.events, batches = tally.batches + EXCLUDED.batches,
        quarantined = tally.quarantined + EXCLUDED.quarantined"""

# Traces with events in several buckets: only there can an event have been received twice, and only those are looked into.
CROSSING: Final[LiteralString] = """
    SELECT project_id, trace_key FROM trace t JOIN unnest(%(project_id)s::int[], %(trace_key)s::uuid[]) AS k (project_id, trace_key)
      USING (project_id, trace_key) WHERE t.edition = %(edition)s AND cardinality(t.buckets) > 1"""
REPEATED: Final[LiteralString] = """
    SELECT k.project_id, count(DISTINCT (k.trace_key, k.event_id))
    FROM unnest(%(project_id)s::int[], %(trace_key)s::uuid[], %(event_id)s::uuid[]) AS k (project_id, trace_key, event_id)
    JOIN event e ON e.trace_key = k.trace_key AND e.event_id = k.event_id AND e.project_id = k.project_id
    JOIN derived d ON d.batch_no = e.batch_no AND d.edition = %(edition)s
    GROUP BY 1"""

QUARANTINED: Final[LiteralString] = """
    INSERT INTO quarantined (edition, project_id, trace_key, event_id, bucket, batch_no, received_at, code)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"""

DEEDS: Final[LiteralString] = """
    INSERT INTO access_log (edition, project_id, trace_key, event_id, bucket, at, action, actor_kind, actor_id, actor_name,
                            objects, purpose)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"""

# Adds what a group of events says about traces. LEAST, GREATEST and a union: any order of arrival ends in the same row.
TRACES: Final[LiteralString] = """
    INSERT INTO trace (edition, project_id, trace_key, trace_id, own_key, session_key, buckets, first_at, last_at,
                       received_first, received_last)
    SELECT %(edition)s, project_id, trace_key, trace_id, own_key, own_key, buckets::int[], first_at, last_at, received_first, received_last
    FROM unnest(%(project_id)s::int[], %(trace_key)s::uuid[], %(trace_id)s::bytea[], %(own_key)s::text[], %(buckets)s::text[],
                %(first_at)s::timestamptz[], %(last_at)s::timestamptz[],
                %(received_first)s::timestamptz[], %(received_last)s::timestamptz[])
      AS new (project_id, trace_key, trace_id, own_key, buckets, first_at, last_at, received_first, received_last)
    ON CONFLICT (edition, project_id, trace_key) DO UPDATE
    SET buckets = (SELECT array_agg(DISTINCT b ORDER BY b) FROM unnest(trace.buckets || EXCLUDED.buckets) b),
        trace_id = coalesce(trace.trace_id, EXCLUDED.trace_id),
        first_at = LEAST(trace.first_at, EXCLUDED.first_at), last_at = GREATEST(trace.last_at, EXCLUDED.last_at),
        received_first = LEAST(trace.received_first, EXCLUDED.received_first),
        received_last = GREATEST(trace.received_last, EXCLUDED.received_last)"""

DECLARED: Final[LiteralString] = """
    INSERT INTO declared (edition, project_id, trace_key, kind, digest, value, rank)
    SELECT %(edition)s, * FROM unnest(%(project_id)s::int[], %(trace_key)s::uuid[], %(kind)s::text[], %(digest)s::uuid[],
                                      %(value)s::bytea[], %(rank)s::smallint[])
    ON CONFLICT (edition, project_id, trace_key, kind, digest) DO UPDATE SET rank = LEAST(declared.rank, EXCLUDED.rank)
    WHERE declared.rank > EXCLUDED.rank"""

# The session each trace is of now, and the best of all the session IDs that its events ever declared.
CHOSEN: Final[LiteralString] = """
    SELECT t.project_id, t.trace_key, t.trace_id, t.own_key, t.session_key,
           (SELECT d.value FROM declared d WHERE d.edition = t.edition AND d.project_id = t.project_id AND d.trace_key = t.trace_key
              AND d.kind = 'session' ORDER BY d.rank, d.value LIMIT 1)
    FROM trace t JOIN unnest(%(project_id)s::int[], %(trace_key)s::uuid[]) AS k (project_id, trace_key) USING (project_id, trace_key)
    WHERE t.edition = %(edition)s"""

REBIND: Final[LiteralString] = "UPDATE trace SET session_key = %s WHERE edition = %s AND project_id = %s AND trace_key = %s"

# A session is what its traces make of it: written again whenever one of them changed, joined or left.
SESSIONS: Final[LiteralString] = """
    INSERT INTO session (edition, key, project_id, session_id, declared, traces, started_at, ended_at, sort_at, stale_since)
    SELECT t.edition, t.session_key, t.project_id, k.session_id, k.declared, count(*), min(t.first_at), max(t.last_at),
           coalesce(min(t.first_at), min(t.received_first)), now()
    FROM unnest(%(key)s::text[], %(project_id)s::int[], %(session_id)s::bytea[], %(declared)s::bool[])
      AS k (key, project_id, session_id, declared)
    JOIN trace t ON t.edition = %(edition)s AND t.project_id = k.project_id AND t.session_key = k.key
    GROUP BY t.edition, t.session_key, t.project_id, k.session_id, k.declared
    ON CONFLICT (edition, key) DO UPDATE
    SET traces = EXCLUDED.traces, started_at = EXCLUDED.started_at, ended_at = EXCLUDED.ended_at, sort_at = EXCLUDED.sort_at,
        stale_since = coalesce(session.stale_since, EXCLUDED.stale_since)"""
EMPTIED: Final[LiteralString] = """
    DELETE FROM session s WHERE s.edition = %(edition)s AND s.key = ANY(%(keys)s)
    AND NOT EXISTS (SELECT FROM trace t WHERE t.edition = s.edition AND t.project_id = s.project_id AND t.session_key = s.key)
    RETURNING s.key"""
SESSION_IDS: Final[LiteralString] = "SELECT key, project_id, session_id, declared FROM session WHERE edition = %s AND key = ANY(%s)"

# Sessions whose summary is older than their events; one that took long to summarise waits twenty times as long for the next.
STALE: Final[LiteralString] = """
    SELECT key, project_id FROM session
    WHERE edition = %s AND stale_since IS NOT NULL
      AND (summarised_at IS NULL OR summarised_at + summary_seconds * 20 * interval '1 second' <= now())
    ORDER BY stale_since LIMIT %s"""
# What is a document is a text inside of the one parameter: the JSON value null is not SQL's.
SUMMARISED: Final[LiteralString] = """
    UPDATE session s SET stale_since = NULL, summarised_at = now(), summary_seconds = new.summary_seconds,
        agent_name = new.agent_name, agent_version = new.agent_version, opening = new.opening, totals = new.totals::jsonb,
        verdict = new.verdict, gaps = new.gaps, findings = new.findings::jsonb, last_action = new.last_action::jsonb, error = new.error,
        cut = new.cut, model_calls = new.model_calls, tool_calls = new.tool_calls, cost_usd = new.cost_usd::numeric, parts = new.parts,
        text_due = LEAST(s.text_due, now())  -- before what waits only to be indexed anew (migration 0011)
    FROM json_to_recordset(%(summaries)s::json) AS new (key text, summary_seconds float8, agent_name text, agent_version text,
        opening text, totals text, verdict text, gaps int, findings text, last_action text, error text, cut text, model_calls int,
        tool_calls int, cost_usd text, parts int)
    WHERE s.edition = %(edition)s AND s.key = new.key RETURNING s.key, s.sort_at"""
