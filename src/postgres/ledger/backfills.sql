-- How far backfills are. Read it: SELECT * FROM whimbrel.backfill_progress;
CREATE TABLE whimbrel.backfills (
    run uuid NOT NULL REFERENCES whimbrel.runs,
    unit integer NOT NULL,
    direction text NOT NULL CHECK (direction IN ('up', 'down')),
    leaf integer NOT NULL,
    relation text NOT NULL,
    relid bigint NOT NULL,
    root bigint NOT NULL,
    key jsonb NOT NULL,
    columns jsonb NOT NULL,
    bound text[],
    cursor text[],
    ranges jsonb,
    window_end text[],
    window_keys bigint NOT NULL DEFAULT 0,
    passes integer NOT NULL DEFAULT 1,
    pass integer NOT NULL DEFAULT 0,
    sweeps integer NOT NULL DEFAULT 0,
    finished boolean NOT NULL DEFAULT false,
    rows_done bigint NOT NULL DEFAULT 0,
    rows_expected bigint NOT NULL,
    keys_seen bigint NOT NULL DEFAULT 0,
    keys_total bigint NOT NULL,
    batches bigint NOT NULL DEFAULT 0,
    wal_bytes bigint NOT NULL DEFAULT 0,
    worked double precision NOT NULL DEFAULT 0,
    throttled double precision NOT NULL DEFAULT 0,
    rate double precision,
    throttled_by text,
    epoch bigint NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, unit, direction, leaf)
) WITH (fillfactor = 50);
CREATE TABLE whimbrel.backfill_locked (
    run uuid NOT NULL REFERENCES whimbrel.runs,
    unit integer NOT NULL,
    direction text NOT NULL,
    leaf integer NOT NULL,
    key text[] NOT NULL,
    PRIMARY KEY (run, unit, direction, leaf, key)
);
CREATE TABLE whimbrel.backfill_kept (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run uuid NOT NULL REFERENCES whimbrel.runs,
    unit integer NOT NULL,
    leaf integer NOT NULL,
    key text[] NOT NULL,
    before text[] NOT NULL,
    after text[] NOT NULL,
    changed_since boolean NOT NULL DEFAULT false
);
CREATE INDEX backfill_kept_run ON whimbrel.backfill_kept (run, unit, leaf, seq) WHERE NOT changed_since;
-- Some of the transactions, with the keys that each was about: rows that are as it left them are computed again at the end.
CREATE TABLE whimbrel.backfill_marks (
    run uuid NOT NULL REFERENCES whimbrel.runs,
    unit integer NOT NULL,
    leaf integer NOT NULL,
    xid bigint NOT NULL,
    after text[],
    upto text[] NOT NULL,
    pass integer NOT NULL,
    passes integer NOT NULL
);
CREATE INDEX backfill_marks_run ON whimbrel.backfill_marks (run, unit);
CREATE VIEW whimbrel.backfill_progress AS
    SELECT r.name AS migration, r.version, b.unit + 1 AS unit, b.direction, b.relation, b.rows_done,
           -- What was found in the keys so far says more than what was expected before.
           CASE WHEN b.finished THEN b.rows_done
                ELSE greatest(CASE WHEN g.keys * 20 < b.keys_total THEN b.rows_expected END,
                              b.rows_done + (b.rows_done::numeric * greatest(b.keys_total - g.keys, 0) / greatest(g.keys, 1))::bigint)
           END AS rows_expected,
           CASE WHEN b.finished THEN 100 ELSE least(99, floor(100.0 * b.keys_seen / greatest(b.keys_total, 1))) END AS percent,
           round(b.rate::numeric) AS rows_per_second, b.batches, b.wal_bytes, b.throttled_by,
           make_interval(secs => b.worked) AS worked, make_interval(secs => b.throttled) AS throttled,
           b.begun_at, b.changed_at, b.run
    FROM whimbrel.backfills b JOIN whimbrel.runs r ON r.id = b.run
    CROSS JOIN LATERAL (SELECT b.keys_seen + b.window_keys * b.pass / greatest(b.passes, 1) AS keys) g
    ORDER BY r.seq, b.unit, b.direction DESC, b.leaf;
