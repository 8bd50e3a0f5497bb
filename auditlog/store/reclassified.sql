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
    CHECK (ended_at IS NULL OR ended_by ->> 'kind' IS NOT DISTINCT FROM 'person' AND ended_by ? 'id'
           AND (ended_by ->> 'kind', ended_by ->> 'id') IS DISTINCT FROM (made_by ->> 'kind', made_by ->> 'id'))  -- a second person
);

-- The pages end one, once (roles.sql gives them these columns).
CREATE FUNCTION reclassified_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.ended_at IS NOT NULL THEN
        RAISE EXCEPTION 'reclassification % was ended before', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER reclassified_ended BEFORE UPDATE ON reclassified FOR EACH ROW EXECUTE FUNCTION reclassified_ended();
