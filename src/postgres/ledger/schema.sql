-- The ledger: what happened, statement by statement. Read it: SELECT * FROM whimbrel.history;
CREATE TABLE whimbrel.ledger (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version integer NOT NULL,
    side text NOT NULL CHECK (side IN ('primary', 'copy')),
    system_identifier text NOT NULL,
    timeline integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE whimbrel.epoch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch bigint NOT NULL,
    owner text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO whimbrel.epoch (epoch, owner) VALUES (0, '');
CREATE TABLE whimbrel.runs (
    id uuid PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    stream text NOT NULL,
    version text NOT NULL,
    plan_hash text NOT NULL,
    analysis_hash text,
    from_version text,
    namespace text NOT NULL,
    name text NOT NULL,
    uid text NOT NULL,
    plan jsonb NOT NULL,
    phase text NOT NULL,
    state jsonb NOT NULL,
    tokens jsonb NOT NULL DEFAULT '{}',
    rehearsal jsonb,
    baseline jsonb,
    copy_level jsonb NOT NULL,
    note text,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_at timestamptz,
    watched_since timestamptz,
    finished_at timestamptz
);
CREATE INDEX runs_version ON whimbrel.runs (stream, version, seq DESC);
CREATE INDEX runs_open ON whimbrel.runs (seq) WHERE finished_at IS NULL;
CREATE TABLE whimbrel.units (
    run uuid NOT NULL REFERENCES whimbrel.runs,
    unit integer NOT NULL,
    status jsonb NOT NULL,
    in_force boolean NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    pid integer NOT NULL,
    backend_start timestamptz,
    xid text,
    lsn text,
    system_identifier text NOT NULL,
    timeline integer NOT NULL,
    epoch bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, unit)
);
CREATE TABLE whimbrel.statements (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run uuid NOT NULL REFERENCES whimbrel.runs,
    unit integer NOT NULL,
    direction text NOT NULL CHECK (direction IN ('up', 'down')),
    block integer NOT NULL,
    ordinal integer NOT NULL,
    sql text NOT NULL,
    checksum text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('intent', 'done', 'found', 'failed')),
    milliseconds double precision,
    epoch bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error text
);
CREATE INDEX statements_run ON whimbrel.statements (run, seq);
CREATE TABLE whimbrel.samples (
    run uuid NOT NULL REFERENCES whimbrel.runs,
    at timestamptz NOT NULL,
    metric text NOT NULL,
    sample jsonb NOT NULL,
    PRIMARY KEY (run, at, metric)
);
CREATE TABLE whimbrel.trash (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run uuid NOT NULL REFERENCES whimbrel.runs,
    unit integer NOT NULL,
    aside jsonb NOT NULL,
    put_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE VIEW whimbrel.history AS
    SELECT s.at, r.stream, r.version, r.name AS migration, s.unit + 1 AS unit, s.direction, s.outcome,
           round(s.milliseconds::numeric, 1) AS ms, s.sql, s.error, r.phase, r.id AS run
    FROM whimbrel.statements s JOIN whimbrel.runs r ON r.id = s.run
    ORDER BY s.seq;
