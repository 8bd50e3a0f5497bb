-- Searches: what matches is kept as a longer class says, wherever it lies (docs/howto/retention.md). Run once, by migration 0027.
CREATE TABLE reclassified (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  integer NOT NULL,
    scope       jsonb NOT NULL CHECK (scope <> '{}'),  -- filters of GET /api/v1/sessions
    class_no    smallint NOT NULL,
    reason      text NOT NULL CHECK (reason <> ''),
    made_by     jsonb NOT NULL,
    made_at     timestamptz NOT NULL DEFAULT now(),
    ended_by    jsonb,
    ended_at    timestamptz,
    end_reason  text CHECK (end_reason <> ''),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL) AND (ended_at IS NULL) = (end_reason IS NULL)),
    CHECK (ended_by ->> 'id' <> made_by ->> 'id' OR ended_by ->> 'kind' <> made_by ->> 'kind')  -- a second person
);
