-- Requests of erasure, and of which events which fields go (docs/howto/erasure.md). Run once, by migration 0020. Rows are never deleted; of
-- one that was carried out, `scope` keeps the names of its filters and no value: a register of what was erased must not repeat it.
CREATE TABLE erasure (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id      integer NOT NULL,
    scope           jsonb NOT NULL CHECK (scope <> '{}'),  -- {"events": [IDs]} or filters of GET /api/v1/sessions that name whom it concerns
    reason          text NOT NULL CHECK (reason <> ''),
    basis           text NOT NULL CHECK (basis <> ''),
    asked_by        text NOT NULL CHECK (asked_by <> ''),  -- outside: the person concerned, or who acts for them
    received_at     timestamptz NOT NULL,
    due_at          timestamptz NOT NULL,
    entered_by      jsonb NOT NULL,                        -- as all that say who: {"kind", "id", "name"}
    entered_at      timestamptz NOT NULL DEFAULT now(),
    state           text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'decided', 'ended')),
    outcome         text CHECK (outcome IN ('erase', 'redact', 'refuse')),
    fields          smallint[],                            -- redact: which fields
    outcome_reason  text,
    decided_by      jsonb,
    decided_at      timestamptz,
    certificate     jsonb,                                 -- written by the transaction that ended it
    recorded_at     timestamptz,                           -- the certificate stands among the evidence
    CHECK (received_at <= due_at),
    CHECK ((state = 'open') = (outcome IS NULL) AND (outcome IS NULL) = (decided_by IS NULL) AND (outcome IS NULL) = (decided_at IS NULL)),
    CHECK ((state = 'ended') = (certificate IS NOT NULL)),
    CHECK ((outcome IS NOT DISTINCT FROM 'redact') = (fields IS NOT NULL))
);

-- What was decided, event by event, and how far it has come. No foreign key to evidence: an event may have been disposed of since.
CREATE TABLE erasure_item (
    erasure      bigint NOT NULL REFERENCES erasure,
    trace_key    uuid NOT NULL,
    event_id     uuid NOT NULL,
    done_at      timestamptz,
    erased       integer NOT NULL DEFAULT 0,  -- fields that it had and has no more
    PRIMARY KEY (erasure, trace_key, event_id)
);
CREATE INDEX erasure_item_left ON erasure_item (erasure, trace_key) WHERE done_at IS NULL;

-- One row per transaction in which something went: what became of the content that its fields referred to.
CREATE TABLE erasure_content (
    erasure    bigint NOT NULL REFERENCES erasure,
    n          bigint GENERATED ALWAYS AS IDENTITY,
    destroyed  integer NOT NULL,
    kept       integer NOT NULL,              -- other evidence refers to it
    PRIMARY KEY (erasure, n)
);
