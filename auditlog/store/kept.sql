-- Which class what arrives goes into, and clocks that begin with an event outside (docs/howto/retention.md). Run once, by migration 0022.
-- Rows are only ever added: of each the newest counts.

-- All rules of a project, one row per version of them: [[attribute of a resource, value, class], ...], the first that fits decides.
CREATE TABLE retention_rules (
    project_id  integer NOT NULL,
    version     integer NOT NULL CHECK (version >= 1),
    rules       jsonb NOT NULL CHECK (jsonb_typeof(rules) = 'array'),
    created_by  jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, version)
);

-- Whose event starts the clock of a class: user, customer, another kind of subject, or session.
ALTER TABLE retention_class ADD COLUMN clock_of text CHECK (clock_of <> ''), ADD CHECK ((clock = 'event') = (clock_of IS NOT NULL));

-- What was told of somebody: the clock of what is theirs began at that time; NULL: it does not run (any more).
CREATE TABLE clock_event (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  integer NOT NULL,
    kind        text NOT NULL CHECK (kind <> ''),
    value       text NOT NULL CHECK (value <> ''),
    key         text NOT NULL,          -- as derived tables know it: the key of a session, the digest of anybody else
    at          timestamptz,
    event       text NOT NULL CHECK (event <> ''),  -- in words: account closed
    told_by     jsonb NOT NULL,         -- as all that say who: {"kind", "id", "name"}
    told_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX clock_event_newest ON clock_event (key, kind, project_id, id);
