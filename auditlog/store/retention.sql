-- Retention: how long evidence is kept, what is held beyond it, and what was disposed of (docs/adr/014-retention.md). Run once, by migration
-- 0017. Nothing here is ever deleted but what `session_loss` says of sessions that are gone.

-- One row per version of a class, never changed but to put it in force. In force is the highest version with `in_force_at`.
CREATE TABLE retention_class (
    class_no       smallint NOT NULL CHECK (class_no >= 1),
    version        integer NOT NULL CHECK (version >= 1),
    name           text NOT NULL,
    days           integer NOT NULL CHECK (days BETWEEN 1 AND 36525),
    clock          text NOT NULL DEFAULT 'receipt' CHECK (clock IN ('receipt', 'event')),  -- only 'receipt' is offered yet
    floor_days     integer NOT NULL DEFAULT 1,
    basis          text NOT NULL,
    second_person  boolean NOT NULL DEFAULT false,  -- a disposition needs an approver who is not its proposer
    created_at     timestamptz NOT NULL DEFAULT now(),
    created_by     jsonb NOT NULL,                  -- as all that say who: {"kind", "id", "name"}
    in_force_at    timestamptz,                     -- NULL: waits for a second person, because it shortens
    approved_by    jsonb,
    PRIMARY KEY (class_no, version),
    CHECK (days >= floor_days)
);
INSERT INTO retention_class (class_no, version, name, days, floor_days, basis, created_by, in_force_at)
SELECT n, 1, name, days, floor, basis, '{"kind": "service", "id": "setup", "name": "preset"}', now() FROM (VALUES
    (1, 'Seven years', 2557, 1, 'A usual choice. 17 CFR 210.2-06 asks seven years of auditors of issuers; nobody else is bound by it.'),
    (2, 'Six years', 2192, 1, 'HIPAA, 45 CFR 164.316(b)(2), asks six years of documentation; FINRA rule 4511 asks six years where no other period is named.'),
    (3, 'Six months', 184, 184, 'EU AI Act, Art. 19 and 26(6): logs of high-risk systems are kept for at least six months.'),
    (4, '90 days', 90, 1, 'No legal basis is claimed.')
) AS preset (n, name, days, floor, basis);

-- Agents whose logs a law asks to be kept: no class of less than 184 days for the projects that they work in.
CREATE TABLE agent_flag (
    project_id  integer NOT NULL,
    agent       text NOT NULL,
    high_risk   boolean NOT NULL,
    set_by      jsonb NOT NULL,
    set_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, agent)
);

CREATE TABLE hold (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id      integer NOT NULL,
    name            text NOT NULL CHECK (name <> ''),
    reason          text NOT NULL CHECK (reason <> ''),
    scope           jsonb NOT NULL CHECK (scope <> '{}'),  -- filters of GET /api/v1/sessions, asked anew whenever it matters
    placed_by       jsonb NOT NULL,
    placed_at       timestamptz NOT NULL DEFAULT now(),
    released_by     jsonb,
    released_at     timestamptz,
    release_reason  text,
    CHECK ((released_at IS NULL) = (released_by IS NULL) AND (released_at IS NULL) = (release_reason IS NULL))
);
CREATE INDEX hold_standing ON hold (project_id) WHERE released_at IS NULL;

CREATE TABLE disposition (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bucket         integer NOT NULL REFERENCES bucket,
    state          text NOT NULL DEFAULT 'proposed' CHECK (state IN ('proposed', 'approved', 'executed', 'refused', 'cancelled')),
    class_no       smallint NOT NULL,
    class_version  integer NOT NULL,  -- the version in force when it was proposed
    due_at         timestamptz NOT NULL,
    report         jsonb NOT NULL,    -- what the proposer was shown
    proposed_by    jsonb NOT NULL,
    proposed_at    timestamptz NOT NULL DEFAULT now(),
    approved_by    jsonb,
    approved_at    timestamptz,
    ended_by       jsonb,             -- who executed, refused or cancelled it
    ended_at       timestamptz,
    certificate    jsonb,             -- written by the transaction in which the evidence went
    forgotten_at   timestamptz,       -- what was derived of it is gone, too
    recorded_at    timestamptz,       -- the certificate stands among the evidence
    CHECK ((state = 'executed') = (certificate IS NOT NULL)),
    FOREIGN KEY (class_no, class_version) REFERENCES retention_class (class_no, version)
);
CREATE UNIQUE INDEX disposition_one_open ON disposition (bucket) WHERE state IN ('proposed', 'approved');

-- Digests of events that left a bucket of which others stay: the roots of its parts can still be computed. One partition per such bucket.
CREATE TABLE tombstone (
    bucket    integer NOT NULL,
    batch_no  bigint NOT NULL,
    event_id  uuid NOT NULL,
    digest    bytea NOT NULL,
    PRIMARY KEY (bucket, batch_no, event_id)
) PARTITION BY LIST (bucket);

-- Sessions that lost a part of theirs and still have another: what their gap `content_disposed` is made of.
CREATE TABLE session_loss (
    project_id   integer NOT NULL,
    session_key  varchar(26) NOT NULL,
    disposition  bigint NOT NULL REFERENCES disposition,
    PRIMARY KEY (session_key, project_id, disposition)
);

-- Where a bucket is written anew before it takes the old one's place: nobody but the owner sees it until then.
CREATE SCHEMA draft;
