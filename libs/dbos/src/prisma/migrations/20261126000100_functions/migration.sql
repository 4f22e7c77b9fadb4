-- What runs often, as functions.
--
-- Why functions. A statement that is prepared keeps its plan, and a plan that was made while the tables were small
-- reads them from end to end, for as long as it takes until they are analysed again: minutes in which a new
-- application writes hundreds of thousands of rows. Statements of a function are planned under the settings of the
-- function: without sequential scans, once for a connection, and the same whether they come through a Prisma client,
-- its driver or a pooler (PostgreSQL manual, "CREATE FUNCTION", SET, and "PL/pgSQL Under the Hood", Plan Caching). What
-- has no index costs the planner a fortune then, which must not move it to compile the plan: hence no JIT.
--
-- A function that a released version calls is never changed in what it takes or gives: processes of two versions work
-- side by side during a deployment. What is new comes under a new name.

-- Checkpoints and settlements of runs, as far as the runs still own their workflows. Answers with the exceptions: the runs
-- that did not (step_id null), and those steps of the others that another run had recorded; such a run is not settled.
-- What stands at a run's own epoch it has recorded itself, by a sending whose answer was lost.
--
-- Several small statements, for their plans together cost the executor less than one with all of it, and each sees what
-- the one before has done. The first is the fence, under a row lock: no take-over comes between the check and the commit.
-- Rows are locked in the order of ids, so that two batches cannot wait for each other.
--
-- `= ANY (ARRAY[...])` can be neither hashed nor merged, which leaves one index probe for each row: a plan that was made
-- while the tables were small would else walk the whole of an index, for no sequential scan stands in its way.
--
-- `extras` is what few of them bring with them, and null for most (`write_extras`).
CREATE FUNCTION dbos.write_transitions(runs json, steps json, settlements json, extras json)
RETURNS TABLE (workflow_id text, epoch integer, step_id text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  ids text[];
  epochs integer[];
  contradicted text[] := '{}';
  written integer;
BEGIN
  SELECT array_agg(owned.id), array_agg(owned.epoch)
    INTO ids, epochs
    FROM (SELECT run.id, run.epoch
            FROM (SELECT *
                    FROM json_to_recordset(runs) AS given(id text, executor_id text, epoch integer)
                   ORDER BY given.id COLLATE "C") AS run
           CROSS JOIN LATERAL ( -- by the primary key alone: LIMIT keeps the conditions outside from choosing another index
                   SELECT w.status, w.executor_id, w.epoch
                     FROM dbos.workflows w
                    WHERE w.id = run.id
                    LIMIT 1
                      FOR NO KEY UPDATE) AS locked
           WHERE locked.status = 'PENDING' AND locked.executor_id = run.executor_id AND locked.epoch = run.epoch
         ) AS owned;

  IF json_array_length(steps) > 0 THEN
    INSERT INTO dbos.steps AS s (workflow_id, step_id, name, epoch, serialization, output, error,
                                 child_workflow_id, attempts, started_at, completed_at)
    SELECT step.workflow_id, step.step_id, step.name, step.epoch, step.serialization, step.output, step.error,
           step.child_workflow_id, step.attempts, now() - step.duration_ms * interval '1 millisecond', now()
      FROM json_to_recordset(steps) AS step(
             workflow_id text, epoch integer, step_id text, name text, serialization text, output text, error text,
             child_workflow_id text, attempts integer, duration_ms float8)
      JOIN unnest(ids, epochs) AS owned(id, epoch) ON owned.id = step.workflow_id AND owned.epoch = step.epoch
        ON CONFLICT (workflow_id, step_id) DO NOTHING;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written < json_array_length(steps) THEN
      FOR workflow_id, epoch, step_id IN
        SELECT step.workflow_id, step.epoch, step.step_id
          FROM json_to_recordset(steps) AS step(workflow_id text, epoch integer, step_id text)
          JOIN unnest(ids, epochs) AS owned(id, epoch) ON owned.id = step.workflow_id AND owned.epoch = step.epoch
         CROSS JOIN LATERAL ( -- by the primary key
                 SELECT s.epoch
                   FROM dbos.steps s
                  WHERE s.workflow_id = step.workflow_id AND s.step_id = step.step_id
                  LIMIT 1) AS standing
         WHERE standing.epoch <> step.epoch
      LOOP
        contradicted := contradicted || workflow_id;
        RETURN NEXT;
      END LOOP;
    END IF;
  END IF;

  IF json_array_length(settlements) > 0 THEN
    UPDATE dbos.workflows w
       SET status = settlement.status,
           outcome_serialization = settlement.serialization,
           output = settlement.output,
           error = settlement.error,
           wake_at = settlement.wake_at,
           awaited_topics = NULL,
           executor_id = CASE WHEN settlement.status IN ('DELAYED', 'ENQUEUED') THEN NULL ELSE w.executor_id END,
           completed_at = CASE WHEN settlement.status IN ('DELAYED', 'ENQUEUED', 'SUSPENDED') THEN NULL
                               ELSE now() END,
           failures = w.failures + CASE WHEN settlement.retry_from IS NULL THEN 0 ELSE 1 END,
           updated_at = now()
      FROM json_to_recordset(settlements) AS settlement(
             workflow_id text, epoch integer, status text, serialization text, output text, error text,
             wake_at timestamptz, retry_from integer)
      JOIN unnest(ids, epochs) AS owned(id, epoch)
        ON owned.id = settlement.workflow_id AND owned.epoch = settlement.epoch
     WHERE w.id = ANY (ARRAY[settlement.workflow_id]) AND settlement.workflow_id <> ALL (contradicted);

    IF settlements::text LIKE '%"retry_from":%' THEN -- what a workflow that is tried again is to do anew
      DELETE FROM dbos.steps s
       USING json_to_recordset(settlements) AS settlement(workflow_id text, epoch integer, retry_from integer)
        JOIN unnest(ids, epochs) AS owned(id, epoch)
          ON owned.id = settlement.workflow_id AND owned.epoch = settlement.epoch
       WHERE s.workflow_id = ANY (ARRAY[settlement.workflow_id]) AND settlement.workflow_id <> ALL (contradicted)
         AND settlement.retry_from IS NOT NULL
         AND split_part(s.step_id, '.', 1)::integer >= settlement.retry_from;
    END IF;
  END IF;

  IF coalesce(cardinality(ids), 0) < json_array_length(runs) THEN
    RETURN QUERY
    SELECT run.id, run.epoch, NULL::text
      FROM json_to_recordset(runs) AS run(id text, epoch integer)
     WHERE NOT EXISTS (SELECT
                         FROM unnest(ids, epochs) AS owned(id, epoch)
                        WHERE owned.id = run.id AND owned.epoch = run.epoch);
  END IF;

  IF extras IS NOT NULL THEN
    PERFORM dbos.write_extras(extras);
  END IF;
END
$$;

-- Whose turn it is on a queue, until the end of the transaction. It is taken exclusively by claims that count against a
-- limit which processes share, and by changes of the queue; claims that count nothing share it, so that a change waits
-- for them as well: once a pause is over, nothing more is claimed. Whoever wants the turn on several queues takes it in
-- the order of their names. An advisory lock rather than that of the row: it is fair, a change is not put off for ever by
-- claims that come and go, and it writes nothing.
CREATE FUNCTION dbos.take_turn(queue text, exclusively boolean) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
  IF exclusively THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('nestjs-dbos queue ' || queue, 0));
  ELSE
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('nestjs-dbos queue ' || queue, 0));
  END IF;
END
$$;

-- The same for a claim, which has other queues to take from: it waits for many times what another claim takes, and says
-- whether its turn came. It would not for as long as a claimer is frozen that has not read its answer to the end.
CREATE FUNCTION dbos.take_turn_soon(queue text, exclusively boolean) RETURNS boolean
LANGUAGE plpgsql
SET lock_timeout = '500ms'
AS $$
BEGIN
  PERFORM dbos.take_turn(queue, exclusively);
  RETURN true;
EXCEPTION WHEN lock_not_available THEN
  RETURN false;
END
$$;

-- Whether a queue has limits that processes share.
CREATE FUNCTION dbos.shares_limits(q dbos.queues) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN num_nonnulls(q.concurrency, q.rate_limit, q.partition_concurrency, q.partition_rate_limit) > 0;

-- How much longer than asked for the window of a rate limit is kept.
CREATE FUNCTION dbos.rate_margin(period_ms integer) RETURNS interval
LANGUAGE sql IMMUTABLE
RETURN least(period_ms / 20.0, 25) * interval '1 millisecond';

-- Milliseconds until the oldest claim leaves the window of a queue's rate limit; null when nothing is in it.
CREATE FUNCTION dbos.rate_room_in_ms(settings dbos.queues, moment timestamptz) RETURNS float8
LANGUAGE sql STABLE
RETURN (
  SELECT min(extract(epoch FROM window_of.oldest - moment) * 1000 + window_of.period_ms)
    FROM (SELECT min(c.claimed_at) + dbos.rate_margin(settings.rate_period_ms) AS oldest,
                 settings.rate_period_ms AS period_ms
            FROM dbos.queue_claims c
           WHERE c.queue = settings.name AND c.partition_key = ''
             AND c.claimed_at > moment - settings.rate_period_ms * interval '1 millisecond'
                                       - dbos.rate_margin(settings.rate_period_ms)
           UNION ALL
          SELECT min(c.claimed_at) + dbos.rate_margin(settings.partition_rate_period_ms),
                 settings.partition_rate_period_ms
            FROM dbos.queue_claims c
           WHERE c.queue = settings.name AND c.partition_key > ''
             AND c.claimed_at > moment - settings.partition_rate_period_ms * interval '1 millisecond'
                                       - dbos.rate_margin(settings.partition_rate_period_ms)) AS window_of);

-- Up to `at_most` waiting workflows of a queue's partitions, as far as each partition's own limits have room, in the
-- order of the whole queue. The claim has the turn on the queue when there are such limits. Partitions are found by one index
-- probe each, however much waits in them; one that is full costs the others nothing.
--
-- Without bitmaps, for they give up the order of an index: where the planner believes that next to nothing waits, reading
-- all of it and sorting it looks as cheap as its first row.
CREATE FUNCTION dbos.choose_of_partitions(settings dbos.queues, names text[], at_most integer, moment timestamptz)
RETURNS text[]
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  since timestamptz := moment - settings.partition_rate_period_ms * interval '1 millisecond'
                              - dbos.rate_margin(settings.partition_rate_period_ms);
  chosen text[];
BEGIN
  chosen := ARRAY(
    WITH RECURSIVE part AS (
      (SELECT w.partition_key
         FROM dbos.workflows w
        WHERE w.status = 'ENQUEUED' AND w.partition_key IS NOT NULL AND w.queue = settings.name
        ORDER BY w.partition_key
        LIMIT 1)
       UNION ALL
      SELECT (SELECT w.partition_key
                FROM dbos.workflows w
               WHERE w.status = 'ENQUEUED' AND w.partition_key IS NOT NULL AND w.queue = settings.name
                 AND w.partition_key > part.partition_key
               ORDER BY w.partition_key
               LIMIT 1)
        FROM part
       WHERE part.partition_key IS NOT NULL
    ), space AS MATERIALIZED (
      SELECT part.partition_key, head.priority, head.seq,
             least(at_most,
                   CASE WHEN settings.partition_concurrency IS NOT NULL
                        THEN settings.partition_concurrency
                               - (SELECT count(*)
                                    FROM (SELECT FROM dbos.workflows w
                                           WHERE w.status = 'PENDING' AND w.queue = settings.name
                                             AND w.partition_key = part.partition_key
                                           LIMIT settings.partition_concurrency) AS at_work) END,
                   CASE WHEN settings.partition_rate_limit IS NOT NULL
                        THEN settings.partition_rate_limit
                               - (SELECT coalesce(sum(c.claims), 0)
                                    FROM dbos.queue_claims c
                                   WHERE c.queue = settings.name AND c.partition_key = part.partition_key
                                     AND c.claimed_at > since) END) AS free
        FROM part
       CROSS JOIN LATERAL (
               SELECT w.priority, w.seq
                 FROM dbos.workflows w
                WHERE w.status = 'ENQUEUED' AND w.partition_key = part.partition_key AND w.queue = settings.name
                  AND w.name = ANY (names)
                ORDER BY w.priority, w.seq
                LIMIT 1) AS head
       WHERE part.partition_key IS NOT NULL
    ), foremost AS MATERIALIZED ( -- whose first comes after those of so many others has none among the first so many
      SELECT space.partition_key, space.free, row_number() OVER (ORDER BY space.priority, space.seq) AS place
        FROM space
       WHERE space.free > 0
       ORDER BY space.priority, space.seq
       LIMIT at_most
    )
    SELECT waiting.id
      FROM foremost
     CROSS JOIN LATERAL (
             SELECT w.id, w.priority, w.seq
               FROM dbos.workflows w
              WHERE w.status = 'ENQUEUED' AND w.partition_key = foremost.partition_key AND w.queue = settings.name
                AND w.name = ANY (names)
              ORDER BY w.priority, w.seq
              LIMIT least(foremost.free, at_most - foremost.place + 1)) AS waiting
     ORDER BY waiting.priority, waiting.seq
     LIMIT at_most);
  -- Chosen without a lock, so that a full queue locks no more than it takes; what somebody holds is left.
  chosen := ARRAY(
    SELECT locked.id
      FROM unnest(chosen) WITH ORDINALITY AS picked(id, place)
     CROSS JOIN LATERAL (
             SELECT w.id, w.status
               FROM dbos.workflows w
              WHERE w.id = picked.id
              LIMIT 1
                FOR NO KEY UPDATE SKIP LOCKED) AS locked
     WHERE locked.status = 'ENQUEUED'
     ORDER BY picked.place);

  IF cardinality(chosen) > 0 AND settings.partition_rate_limit IS NOT NULL THEN
    DELETE FROM dbos.queue_claims c
     WHERE c.queue = settings.name AND c.partition_key > '' AND c.claimed_at < moment - 2 * (moment - since);
    INSERT INTO dbos.queue_claims (queue, partition_key, claimed_at, claims)
    SELECT settings.name, w.partition_key, clock_timestamp(), count(*)
      FROM dbos.workflows w
     WHERE w.id = ANY (chosen)
     GROUP BY w.partition_key;
  END IF;
  RETURN chosen;
END
$$;

-- Puts a workflow off: the one that is being put off under the key gets the new input and starts a period from now, but
-- not later than `max_wait_ms` after the first call; where there is none, this one is written. Called in a workflow
-- (`run`, `step`), the checkpoint of the call is part of the same commit, and a call that has one is not made again.
CREATE FUNCTION dbos.debounce_workflow(
  workflow json, period_ms float8, max_wait_ms float8, run json, step json
)
RETURNS TABLE (id text, owned boolean)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  owned := true;
  IF run IS NOT NULL THEN
    PERFORM
       FROM (SELECT w.status, w.executor_id, w.epoch
               FROM dbos.workflows w
              WHERE w.id = run->>'id'
              LIMIT 1
                FOR NO KEY UPDATE) AS locked
      WHERE locked.status = 'PENDING' AND locked.executor_id = run->>'executor_id'
        AND locked.epoch = (run->>'epoch')::integer;
    owned := FOUND;
    IF owned THEN
      SELECT s.output::json #>> '{}' INTO id
        FROM dbos.steps s
       WHERE s.workflow_id = run->>'id' AND s.step_id = step->>'step_id';
    END IF;
    IF NOT owned OR id IS NOT NULL THEN
      RETURN NEXT;
      RETURN;
    END IF;
  END IF;

  INSERT INTO dbos.workflows AS w (id, name, status, parent_id, application_version, attributes, context,
                                   serialization, input, queue, wake_at, debounce_key, debounce_until)
  SELECT given.id, given.name, 'DELAYED', given.parent_id, given.application_version, given.attributes,
         given.context, given.serialization, given.input, given.queue,
         now() + least(period_ms, max_wait_ms) * interval '1 millisecond', given.debounce_key,
         now() + max_wait_ms * interval '1 millisecond'
    FROM json_to_record(workflow) AS given(
           id text, name text, parent_id text, application_version text, attributes jsonb, context jsonb,
           serialization text, input text, queue text, debounce_key text)
      ON CONFLICT (name, debounce_key) WHERE debounce_key IS NOT NULL AND status = 'DELAYED' DO UPDATE
     SET input = EXCLUDED.input, serialization = EXCLUDED.serialization, attributes = EXCLUDED.attributes,
         context = EXCLUDED.context,
         wake_at = least(now() + period_ms * interval '1 millisecond', w.debounce_until), updated_at = now()
  RETURNING w.id INTO id;

  IF run IS NOT NULL THEN
    INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, child_workflow_id, started_at)
    VALUES (run->>'id', step->>'step_id', step->>'name', (run->>'epoch')::integer, 'json', to_json(id)::text, id,
            now());
  END IF;
  RETURN NEXT;
END
$$;

-- All checkpoints of the given workflows.
CREATE FUNCTION dbos.step_histories(workflow_ids text[])
RETURNS TABLE (workflow_id text, step_id text, name text, epoch integer, serialization text, output text, error text,
               child_workflow_id text, attempts integer, started_at timestamptz, completed_at timestamptz)
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT s.workflow_id, s.step_id, s.name, s.epoch, s.serialization, s.output, s.error, s.child_workflow_id,
         s.attempts, s.started_at, s.completed_at
    FROM dbos.steps s
   WHERE s.workflow_id = ANY (workflow_ids);
END
$$;

-- How many workflows there are of each name in the given statuses, and since when; of each status the oldest `at_most`.
CREATE FUNCTION dbos.count_workflows(statuses text[], at_most integer)
RETURNS TABLE (name text, status text, workflows integer, oldest timestamptz)
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT counted.name, counted.status, count(*)::integer, min(counted.created_at)
    FROM unnest(statuses) AS asked(status)
   CROSS JOIN LATERAL (
           SELECT w.name, w.status, w.created_at
             FROM dbos.workflows w
            WHERE w.status = asked.status COLLATE "C"
            ORDER BY w.seq
            LIMIT at_most) AS counted
   GROUP BY counted.name, counted.status;
END
$$;

-- Sends suspended workflows of these names back to be claimed, the oldest first, and gives their ids.
CREATE FUNCTION dbos.resume_suspended(names text[], at_most integer)
RETURNS TABLE (id text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  UPDATE dbos.workflows w
     SET status = 'ENQUEUED', recovery_attempts = 0, error = NULL, updated_at = now()
   WHERE w.id = ANY (ARRAY(
           SELECT suspended.id
             FROM dbos.workflows suspended
            WHERE suspended.status = 'SUSPENDED' COLLATE "C" AND suspended.name = ANY (names)
            ORDER BY suspended.seq
            LIMIT at_most
              FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING w.id;
END
$$;
