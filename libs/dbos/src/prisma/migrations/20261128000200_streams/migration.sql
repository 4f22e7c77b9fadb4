-- Streams: what workflows append for others to read, in the order of offsets.

-- One row for each value, and one for the end of a stream that was closed. Always read and written by workflow and key:
-- the primary key is the only index.
CREATE TABLE dbos.stream_entries (
  workflow_id   text        COLLATE "C" NOT NULL,
  key           text        COLLATE "C" NOT NULL,
  "offset"      integer     NOT NULL,                     -- from 0, without gaps
  step_id       text        COLLATE "C" NOT NULL,         -- the operation or step that appended it
  epoch         integer     NOT NULL,                     -- of the run that did
  serialization text,
  value         text,                                     -- none: here the stream was closed
  created_at    timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT stream_entries_pkey PRIMARY KEY (workflow_id, key, "offset")
);

-- Appends to streams, in order, as far as their runs still own their workflows. Offsets are given under the lock of the
-- workflow's row, which is the fence as well: whoever appends to the same stream comes after this, and whoever takes the
-- workflow over, or ends it, too. Rows are locked in the order of ids, so that two batches cannot wait for each other.
--
-- An append with a `name` is an operation of the workflow: its checkpoint is part of the same commit, and one that has a
-- checkpoint of this run is not done again, but answered with the offset that it was given then. A closing that the
-- workflow has forgotten, because it is run again from a step before it, is taken back.
CREATE FUNCTION dbos.append_to_streams(appends json)
RETURNS TABLE (place integer, owned boolean, closed boolean, "offset" integer)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  line record;
  run record;
  standing record;
  last record;
  next_offset integer;
BEGIN
  FOR line IN
    SELECT DISTINCT given.workflow_id COLLATE "C" AS workflow_id
      FROM json_to_recordset(appends) AS given(workflow_id text)
     ORDER BY 1
  LOOP
    PERFORM FROM dbos.workflows w WHERE w.id = line.workflow_id FOR NO KEY UPDATE;
  END LOOP;

  FOR line IN
    SELECT *
      FROM json_to_recordset(appends) AS given(
             place integer, workflow_id text, executor_id text, epoch integer, step_id text, name text, key text,
             serialization text, value text)
     ORDER BY given.place
  LOOP
    place := line.place;
    closed := false;
    "offset" := NULL;
    SELECT w.status, w.executor_id, w.epoch INTO run FROM dbos.workflows w WHERE w.id = line.workflow_id;
    owned := coalesce(run.status = 'PENDING' AND run.executor_id = line.executor_id AND run.epoch = line.epoch, false);

    IF owned AND line.name IS NOT NULL THEN
      SELECT s.epoch, s.output
        INTO standing
        FROM dbos.steps s
       WHERE s.workflow_id = line.workflow_id AND s.step_id = line.step_id;
      IF FOUND THEN
        owned := standing.epoch = line.epoch; -- recorded by another run, it contradicts what this one believes
        "offset" := CASE WHEN owned THEN standing.output::integer END;
        RETURN NEXT;
        CONTINUE;
      END IF;
    END IF;

    next_offset := 0;
    IF owned THEN
      SELECT e."offset", e.step_id, e.value IS NULL AS closes
        INTO last
        FROM dbos.stream_entries e
       WHERE e.workflow_id = line.workflow_id AND e.key = line.key
       ORDER BY e."offset" DESC
       LIMIT 1;
      IF FOUND THEN
        closed := last.closes AND EXISTS (
          SELECT FROM dbos.steps s WHERE s.workflow_id = line.workflow_id AND s.step_id = last.step_id);
        next_offset := last."offset" + 1;
        IF last.closes AND NOT closed THEN
          DELETE FROM dbos.stream_entries e
           WHERE e.workflow_id = line.workflow_id AND e.key = line.key AND e."offset" = last."offset";
          next_offset := last."offset";
        END IF;
      END IF;
    END IF;
    IF NOT owned OR closed THEN
      RETURN NEXT;
      CONTINUE;
    END IF;

    "offset" := next_offset;
    INSERT INTO dbos.stream_entries (workflow_id, key, "offset", step_id, epoch, serialization, value)
    VALUES (line.workflow_id, line.key, next_offset, line.step_id, line.epoch, line.serialization, line.value);
    IF line.name IS NOT NULL THEN
      INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, started_at)
      VALUES (line.workflow_id, line.step_id, line.name, line.epoch, 'json', next_offset::text, now());
    END IF;
    RETURN NEXT;
  END LOOP;
END
$$;

-- What follows in streams from given offsets on: for each asked place at least one row, with the status of the workflow
-- (null: there is none) and the next entry, if any. Both come from one snapshot, and nothing is appended to a workflow
-- that has ended: one that has ended and has no next entry will never have one. At most `most_entries` for each place,
-- and no more once they hold `most_bytes`.
CREATE FUNCTION dbos.read_streams(asked json, most_entries integer, most_bytes integer)
RETURNS TABLE (place integer, status text, "offset" integer, serialization text, value text)
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT asked.place, workflow.status, page."offset", page.serialization, page.value
    FROM json_to_recordset(asked) AS asked(place integer, workflow_id text, key text, from_offset integer)
    LEFT JOIN LATERAL (
           SELECT w.status
             FROM dbos.workflows w
            WHERE w.id = asked.workflow_id
            LIMIT 1) AS workflow ON true
    LEFT JOIN LATERAL (
           SELECT head.*, sum(octet_length(head.value)) OVER (
                    ORDER BY head."offset" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
             FROM (SELECT e."offset", e.serialization, e.value
                     FROM dbos.stream_entries e
                    WHERE e.workflow_id = asked.workflow_id AND e.key = asked.key
                      AND e."offset" >= asked.from_offset
                    ORDER BY e."offset"
                    LIMIT most_entries) AS head) AS page ON coalesce(page.bytes_before, 0) < most_bytes
   ORDER BY asked.place, page."offset";
END
$$;
