-- Exports as jobs, and to whom each was given (auditlog/disclosure). Nobody deletes a row: files expire, the record of them stays.
CREATE TABLE export_job (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id      integer NOT NULL,
    project         text NOT NULL,                 -- its name when the export was asked for, as the manifest has it
    client_key      text,                          -- the same key again is the same export
    scope           jsonb NOT NULL,                -- as it was asked
    formats         text[] NOT NULL,
    withheld        jsonb NOT NULL,
    recipient       text NOT NULL,
    purpose         text NOT NULL,
    requested_by    jsonb NOT NULL,
    requested_at    timestamptz NOT NULL DEFAULT now(),
    state           text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'running', 'paused', 'done', 'failed', 'cancelled', 'expired')),
    chosen          bytea,                         -- what the scope meant at chosen_at: sessions and traces, as MessagePack
    chosen_at       timestamptz,
    attempts        integer NOT NULL DEFAULT 0,    -- since a file was completed
    expected        bigint,                        -- events, before those that are not sealed yet are left out
    events          bigint NOT NULL DEFAULT 0,     -- written so far
    bytes           bigint NOT NULL DEFAULT 0,
    rate            double precision,              -- bytes a second
    seconds_left    double precision,
    seen_at         timestamptz,                   -- when whoever works on it last said so
    started_at      timestamptz,
    finished_at     timestamptz,
    counts          jsonb,                         -- of the manifest, and not_sealed
    manifest_sha256 bytea,
    expires_at      timestamptz,
    removed_at      timestamptz,                   -- when its files were
    error           text NOT NULL DEFAULT '',
    UNIQUE (project_id, client_key)
);
CREATE INDEX export_job_open ON export_job (id) WHERE state IN ('waiting', 'running');

CREATE TABLE export_release (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    export_job  bigint NOT NULL REFERENCES export_job,
    recipient   text NOT NULL,
    purpose     text NOT NULL,
    description text NOT NULL,                     -- of what was disclosed, 45 CFR 164.528(b)(2)(iii)
    released_by jsonb NOT NULL,
    released_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX export_release_of ON export_release (export_job);
