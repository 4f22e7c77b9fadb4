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

-- Writes new workflows, each unless its id or deduplication id is taken, and says what stands in the place of those that
-- were not written: `asked` is the id that was given. Where a concurrent start has taken it and is not to be seen yet,
-- `id` is null: then it is to be asked for again. Of what was written nothing comes back, for its sender knows it.
CREATE FUNCTION dbos.start_workflows(workflows json)
RETURNS TABLE (asked text, id text, name text, status text, executor_id text, epoch integer)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  written text[];
BEGIN
  WITH given AS MATERIALIZED ( -- numbered in the order of arrival
    SELECT given.*, coalesce(given.run_at, now() + given.delay_ms * interval '1 millisecond') AS wake_at,
           nextval('dbos.workflows_seq_seq') AS seq
      FROM json_to_recordset(workflows) AS given(
             id text, name text, executor_id text, parent_id text, application_version text, attributes jsonb,
             serialization text, input text, queue text, priority integer, partition_key text, deduplication_id text,
             delay_ms float8, run_at timestamptz)
  ), created AS ( -- in the order of the keys, so that two batches cannot wait for each other
    INSERT INTO dbos.workflows AS w (id, seq, name, status, executor_id, epoch, parent_id, application_version,
                                     attributes, serialization, input, queue, priority, partition_key,
                                     deduplication_id, wake_at, started_at)
           OVERRIDING SYSTEM VALUE
    SELECT given.id, given.seq, given.name,
           CASE WHEN given.executor_id IS NOT NULL THEN 'PENDING'
                WHEN given.wake_at > now() THEN 'DELAYED'
                ELSE 'ENQUEUED' END,
           given.executor_id, CASE WHEN given.executor_id IS NULL THEN 0 ELSE 1 END, given.parent_id,
           given.application_version, given.attributes, given.serialization, given.input, given.queue,
           coalesce(given.priority, 0), given.partition_key, given.deduplication_id,
           CASE WHEN given.wake_at > now() THEN given.wake_at END,
           CASE WHEN given.executor_id IS NOT NULL THEN now() END
      FROM given
     ORDER BY given.queue COLLATE "C", given.deduplication_id COLLATE "C", given.id COLLATE "C"
        ON CONFLICT DO NOTHING
    RETURNING w.id
  )
  SELECT array_agg(created.id) INTO written FROM created;

  IF coalesce(cardinality(written), 0) < json_array_length(workflows) THEN
    RETURN QUERY
    SELECT taken.id, standing.id, standing.name, standing.status, standing.executor_id, standing.epoch
      FROM json_to_recordset(workflows) AS taken(id text, queue text, deduplication_id text)
      LEFT JOIN LATERAL (
             (SELECT w.id, w.name, w.status, w.executor_id, w.epoch
                FROM dbos.workflows w
               WHERE w.id = taken.id
               LIMIT 1)
              UNION ALL
             (SELECT w.id, w.name, w.status, w.executor_id, w.epoch
                FROM dbos.workflows w
               WHERE w.queue = taken.queue AND w.deduplication_id = taken.deduplication_id AND w.completed_at IS NULL
               LIMIT 1)
              LIMIT 1) AS standing ON true
     WHERE written IS NULL OR taken.id <> ALL (written);
  END IF;
END
$$;

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

-- Takes waiting workflows for an executor, at most `at_most`, and gives them back whole. First what is due becomes
-- claimable. The last row has no id: it says in how many milliseconds to ask again at the latest (null: nobody knows of
-- anything), which queues hold back more than their limits let out now, and of which ('': none) something has become due
-- and was not taken.
--
-- `listening` names the queues to claim from, in order of preference, and what this executor has of each at work.
--
-- Exact limits. Claims on a queue with a limit that processes share take turns before anything is counted, and every
-- statement of a function sees what had been committed when it began (READ COMMITTED): two claims can never spend the
-- same budget, and neither has to be tried again. Claims on other queues pass each other with SKIP LOCKED.
--
-- Windows of rate limits are kept a little longer than asked for, for a body begins a moment after its claim.
CREATE FUNCTION dbos.claim_workflows(
  claimer text, names text[], listening json, at_most integer, expires_at timestamptz
)
RETURNS TABLE (id text, name text, epoch integer, recovery_attempts integer, failures integer, queue text,
               serialization text, input text, again_in_ms float8, contended text[], left_due text[])
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  soon CONSTANT float8 := 10;
  room integer := at_most;
  free integer;
  chosen text[];
  awake text[]; -- what became due
  ids text[] := '{}';
  moments timestamptz[] := '{}'; -- when each was claimed: after its turn was taken, before its queue entered the claim
  counted text[] := '{}';   -- queues with shared limits whose turn this claim has
  uncounted text[] := '{}'; -- queues without
  held_back text[] := '{}';
  again float8;
  line record;
  settings dbos.queues;
  moment timestamptz;
  since timestamptz;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE 'claims count at READ COMMITTED only' USING ERRCODE = 'active_sql_transaction';
  END IF;
  IF clock_timestamp() >= expires_at THEN
    RETURN; -- it came too late: its sender has given it up
  END IF;

  WITH woken AS (
    UPDATE dbos.workflows w
       SET status = 'ENQUEUED', wake_at = NULL, debounce_key = NULL, updated_at = now()
     WHERE w.id = ANY (ARRAY(
             SELECT due.id
               FROM dbos.workflows due
              WHERE due.status = 'DELAYED' AND due.wake_at <= now()
              ORDER BY due.wake_at
              LIMIT 1000
                FOR NO KEY UPDATE SKIP LOCKED))
    RETURNING w.id
  )
  SELECT array_agg(woken.id) INTO awake FROM woken;

  SELECT extract(epoch FROM w.wake_at - now()) * 1000
    INTO again
    FROM dbos.workflows w
   WHERE w.status = 'DELAYED' AND w.wake_at IS NOT NULL
   ORDER BY w.wake_at
   LIMIT 1;

  FOR line IN SELECT q.name, dbos.shares_limits(q) AS shares_limits
                FROM json_to_recordset(listening) AS given(queue text)
                JOIN dbos.queues q ON q.name = given.queue
               WHERE NOT q.paused
                 AND coalesce( -- one probe each: for EXISTS all that waits might be put into a hash table
                       (SELECT true FROM dbos.workflows w
                         WHERE w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue = q.name LIMIT 1),
                       (SELECT true FROM dbos.workflows w
                         WHERE w.status = 'ENQUEUED' AND w.partition_key IS NOT NULL AND w.queue = q.name LIMIT 1))
               ORDER BY q.name
  LOOP
    IF NOT dbos.take_turn_soon(line.name, line.shares_limits) THEN
      held_back := held_back || line.name;
      again := least(again, soon);
    ELSIF line.shares_limits THEN
      counted := counted || line.name;
    ELSE
      uncounted := uncounted || line.name;
    END IF;
  END LOOP;
  IF clock_timestamp() >= expires_at THEN
    RETURN;
  END IF;

  -- On no queue: what was recovered, woken, or started where there was no slot.
  ids := ARRAY(
    SELECT w.id
      FROM dbos.workflows w
     WHERE w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue IS NULL AND w.name = ANY (names)
     ORDER BY w.priority, w.seq
     LIMIT room
       FOR NO KEY UPDATE SKIP LOCKED);
  moments := array_fill(clock_timestamp(), ARRAY[cardinality(ids)]);
  room := room - cardinality(ids);

  FOR line IN SELECT given.queue, given.running
                FROM json_to_recordset(listening) AS given(queue text, running integer)
               WHERE given.queue = ANY (counted) OR given.queue = ANY (uncounted)
  LOOP
    EXIT WHEN room <= 0;
    SELECT * INTO settings FROM dbos.queues q WHERE q.name = line.queue;
    CONTINUE WHEN settings.name IS NULL OR settings.paused;
    IF dbos.shares_limits(settings) AND line.queue = ANY (uncounted) THEN -- it was given limits just now
      again := least(again, soon);
      CONTINUE;
    END IF;

    moment := clock_timestamp();
    since := moment - settings.rate_period_ms * interval '1 millisecond' - dbos.rate_margin(settings.rate_period_ms);
    free := least(
      room,
      settings.worker_concurrency - line.running,
      CASE WHEN settings.concurrency IS NOT NULL
           THEN settings.concurrency - (SELECT count(*)
                                          FROM (SELECT FROM dbos.workflows w
                                                 WHERE w.status = 'PENDING' AND w.queue = line.queue
                                                 LIMIT settings.concurrency) AS at_work) END,
      CASE WHEN settings.rate_limit IS NOT NULL
           THEN settings.rate_limit - (SELECT coalesce(sum(c.claims), 0)
                                         FROM dbos.queue_claims c
                                        WHERE c.queue = line.queue AND c.partition_key = ''
                                          AND c.claimed_at > since) END);

    chosen := ARRAY(
      SELECT w.id
        FROM dbos.workflows w
       WHERE w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue = line.queue AND w.name = ANY (names)
       ORDER BY w.priority, w.seq
       LIMIT greatest(free, 0)
         FOR NO KEY UPDATE SKIP LOCKED);
    IF free > cardinality(chosen) THEN
      chosen := chosen || dbos.choose_of_partitions(settings, names, free - cardinality(chosen), moment);
    END IF;

    IF cardinality(chosen) > 0 AND settings.rate_limit IS NOT NULL THEN
      DELETE FROM dbos.queue_claims c
       WHERE c.queue = line.queue AND c.partition_key = ''
         AND c.claimed_at < moment - 2 * (moment - since);
      INSERT INTO dbos.queue_claims (queue, claimed_at, claims)
      VALUES (line.queue, clock_timestamp(), cardinality(chosen));
    END IF;

    IF cardinality(chosen) < room AND (free <= cardinality(chosen) OR settings.is_partitioned) THEN
      held_back := held_back || line.queue;
      again := least(again, dbos.rate_room_in_ms(settings, moment));
    END IF;
    ids := ids || chosen;
    moments := moments || array_fill(moment, ARRAY[cardinality(chosen)]);
    room := room - cardinality(chosen);
  END LOOP;

  RETURN QUERY
  WITH picked AS MATERIALIZED (
    SELECT picked.id, picked.moment, picked.place
      FROM unnest(ids, moments) WITH ORDINALITY AS picked(id, moment, place)
  ), claimed AS (
    UPDATE dbos.workflows w
       SET status = 'PENDING', executor_id = claimer, epoch = w.epoch + 1,
           started_at = coalesce(w.started_at, picked.moment), updated_at = now()
      FROM picked
     WHERE w.id = picked.id AND w.status = 'ENQUEUED'
    RETURNING picked.place, w.id, w.name, w.epoch, w.recovery_attempts, w.failures, w.queue, w.serialization, w.input
  ), in_order AS (
    SELECT * FROM claimed ORDER BY claimed.place
  )
  SELECT in_order.id, in_order.name, in_order.epoch, in_order.recovery_attempts, in_order.failures, in_order.queue,
         in_order.serialization, in_order.input, NULL::float8, NULL::text[], NULL::text[]
    FROM in_order;
  RETURN QUERY SELECT NULL::text, NULL::text, NULL::integer, NULL::integer, NULL::integer, NULL::text, NULL::text,
                      NULL::text, CASE WHEN again IS NOT NULL THEN greatest(again, soon) END, held_back,
                      ARRAY(SELECT DISTINCT coalesce(w.queue, '')
                              FROM dbos.workflows w
                             WHERE w.id = ANY (awake) AND w.status = 'ENQUEUED');
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

-- Renews the lease of an executor and, where it may, declares dead those that are gone. `dead` are all dead executors
-- that may still own workflows, those without a row of their own included. An executor whose session has ended, but whose
-- last heartbeat is younger than the grace, is suspect: `suspect_in_ms` says when it is to be looked at again.
CREATE FUNCTION dbos.heartbeat(executor text, lock bigint, may_declare boolean, grace_ms integer)
RETURNS TABLE (alive boolean, database_now timestamptz, dead text[], has_audience boolean, suspect_in_ms float8)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  UPDATE dbos.executors e
     SET heartbeat_at = now(), lock_key = lock
   WHERE e.id = executor AND e.dead_at IS NULL;
  alive := FOUND;

  IF may_declare THEN
    UPDATE dbos.executors e
       SET dead_at = now()
     WHERE e.id = ANY (ARRAY(
             SELECT gone.id
               FROM dbos.executors gone
              WHERE gone.id <> executor AND gone.dead_at IS NULL
                AND dbos.executor_is_gone(gone.heartbeat_at, gone.lease_ms, gone.lock_key, grace_ms)
                FOR NO KEY UPDATE SKIP LOCKED));
  END IF;

  dead := ARRAY(
    WITH RECURSIVE owner AS ( -- one index probe for each executor that owns anything, however much it owns
      (SELECT w.executor_id
         FROM dbos.workflows w
        WHERE w.status = 'PENDING' AND w.executor_id IS NOT NULL
        ORDER BY w.executor_id
        LIMIT 1)
       UNION ALL
      SELECT (SELECT w.executor_id
                FROM dbos.workflows w
               WHERE w.status = 'PENDING' AND w.executor_id > owner.executor_id
               ORDER BY w.executor_id
               LIMIT 1)
        FROM owner
       WHERE owner.executor_id IS NOT NULL
    )
    SELECT e.id FROM dbos.executors e WHERE e.dead_at IS NOT NULL AND e.id <> executor
     UNION
    SELECT owner.executor_id
      FROM owner
     WHERE owner.executor_id <> executor
       AND NOT EXISTS (SELECT FROM dbos.executors e WHERE e.id = owner.executor_id));

  SELECT count(*) FILTER (WHERE e.lock_key IS NOT NULL) > 0,
         min(extract(epoch FROM e.heartbeat_at - now()) * 1000 + grace_ms)
           FILTER (WHERE e.heartbeat_at + grace_ms * interval '1 millisecond' >= now()
                     AND dbos.session_is_gone(e.lock_key))
    INTO has_audience, suspect_in_ms
    FROM dbos.executors e
   WHERE e.id <> executor AND e.dead_at IS NULL;

  database_now := clock_timestamp();
  RETURN NEXT;
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

  INSERT INTO dbos.workflows AS w (id, name, status, parent_id, application_version, attributes, serialization,
                                   input, queue, wake_at, debounce_key, debounce_until)
  SELECT given.id, given.name, 'DELAYED', given.parent_id, given.application_version, given.attributes,
         given.serialization, given.input, given.queue,
         now() + least(period_ms, max_wait_ms) * interval '1 millisecond', given.debounce_key,
         now() + max_wait_ms * interval '1 millisecond'
    FROM json_to_record(workflow) AS given(
           id text, name text, parent_id text, application_version text, attributes jsonb, serialization text,
           input text, queue text, debounce_key text)
      ON CONFLICT (name, debounce_key) WHERE debounce_key IS NOT NULL AND status = 'DELAYED' DO UPDATE
     SET input = EXCLUDED.input, serialization = EXCLUDED.serialization, attributes = EXCLUDED.attributes,
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
