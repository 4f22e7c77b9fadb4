-- Control of workflows: time limits, cancellation, resumption, forks, deletion, and a record of who did what.

ALTER TABLE dbos.workflows
  ADD COLUMN timeout_ms       float8,                             -- from its start, or from its claim on a queue
  ADD COLUMN deadline         timestamptz,                        -- then it is cancelled, if it has not ended
  ADD COLUMN cancel_reason    text,                               -- requested or deadline
  ADD COLUMN cancels_children boolean,                            -- what it starts from now on is cancelled with it
  ADD COLUMN forked_from      text        COLLATE "C";

-- What ends by itself, and when. Most workflows have no deadline and cost nothing here; one that has ended leaves it.
CREATE INDEX workflows_deadline_idx ON dbos.workflows (deadline) WHERE deadline IS NOT NULL AND completed_at IS NULL;

-- One row for each thing that was done to a workflow from outside. It outlives the workflow, which may have been deleted.
CREATE TABLE dbos.workflow_actions (
  workflow_id text        COLLATE "C" NOT NULL,
  seq         bigint      GENERATED ALWAYS AS IDENTITY,
  action      text        NOT NULL,                               -- cancelled, timedOut, resumed, forked, restarted, deleted
  actor       text,                                               -- who asked for it, as far as that was told
  detail      jsonb,
  created_at  timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT workflow_actions_pkey PRIMARY KEY (workflow_id, seq)
);

-- Writes new workflows, each unless its id or deduplication id is taken, and says what stands in the place of those that
-- were not written: `asked` is the id that was given. Where a concurrent start has taken it and is not to be seen yet,
-- `id` is null: then it is to be asked for again. Of what was written nothing comes back, for its sender knows it.
--
-- A child whose parent was cancelled or deleted together with its children comes too late: it is written as cancelled, and
-- given back among those that were not started.
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
  stopped text[] := '{}';
BEGIN
  IF workflows::text LIKE '%"parent_id":%' THEN
    -- Whoever cancels or deletes a parent with its children waits for this lock, or this waits for its commit; no other
    -- statement is in the way. Then the next one sees what has become of the parent.
    PERFORM
       FROM (SELECT given.parent_id
               FROM json_to_recordset(workflows) AS given(parent_id text)
              WHERE given.parent_id IS NOT NULL
              GROUP BY given.parent_id
              ORDER BY given.parent_id COLLATE "C") AS parent
      CROSS JOIN LATERAL (
              SELECT FROM dbos.workflows w WHERE w.id = parent.parent_id LIMIT 1 FOR KEY SHARE) AS locked;
    stopped := ARRAY(
      SELECT given.parent_id
        FROM json_to_recordset(workflows) AS given(parent_id text)
        LEFT JOIN LATERAL (
               SELECT w.cancels_children IS TRUE AS stops FROM dbos.workflows w WHERE w.id = given.parent_id LIMIT 1
             ) AS parent ON true
       WHERE given.parent_id IS NOT NULL AND parent.stops IS NOT FALSE); -- no parent: it was deleted while it ran
  END IF;

  WITH given AS MATERIALIZED ( -- numbered in the order of arrival
    SELECT given.*, coalesce(given.run_at, now() + given.delay_ms * interval '1 millisecond') AS wake_at,
           nextval('dbos.workflows_seq_seq') AS seq, (given.parent_id = ANY (stopped)) IS TRUE AS is_stopped
      FROM json_to_recordset(workflows) AS given(
             id text, name text, executor_id text, parent_id text, application_version text, attributes jsonb,
             context jsonb,
             serialization text, input text, queue text, priority integer, partition_key text, deduplication_id text,
             delay_ms float8, run_at timestamptz, timeout_ms float8, deadline timestamptz)
  ), created AS ( -- in the order of the keys, so that two batches cannot wait for each other
    INSERT INTO dbos.workflows AS w (id, seq, name, status, executor_id, epoch, parent_id, application_version,
                                     attributes, context, serialization, input, queue, priority, partition_key,
                                     deduplication_id, wake_at, started_at, timeout_ms, deadline, cancel_reason,
                                     completed_at)
           OVERRIDING SYSTEM VALUE
    SELECT given.id, given.seq, given.name,
           CASE WHEN given.is_stopped THEN 'CANCELLED'
                WHEN given.executor_id IS NOT NULL THEN 'PENDING'
                WHEN given.wake_at > now() THEN 'DELAYED'
                ELSE 'ENQUEUED' END,
           CASE WHEN NOT given.is_stopped THEN given.executor_id END,
           CASE WHEN given.executor_id IS NULL OR given.is_stopped THEN 0 ELSE 1 END, given.parent_id,
           given.application_version, given.attributes, given.context, given.serialization, given.input, given.queue,
           coalesce(given.priority, 0), given.partition_key, given.deduplication_id,
           CASE WHEN given.wake_at > now() THEN given.wake_at END,
           CASE WHEN given.executor_id IS NOT NULL THEN now() END, given.timeout_ms, given.deadline,
           CASE WHEN given.is_stopped THEN 'requested' END, CASE WHEN given.is_stopped THEN now() END
      FROM given
     ORDER BY given.queue COLLATE "C", given.deduplication_id COLLATE "C", given.id COLLATE "C"
        ON CONFLICT DO NOTHING
    RETURNING w.id, w.completed_at
  )
  SELECT array_agg(created.id) FILTER (WHERE created.completed_at IS NULL) INTO written FROM created;

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

-- Makes workflows an executor's own that the transaction has locked while they waited, and gives them back in the order in
-- which they waited. A timeout counts from the first claim.
--
-- One array on one table, and nothing else that an index could serve: every other way to the rows would depend on what
-- the statistics say. It is planned under the settings of the claim, its only caller.
CREATE FUNCTION dbos.take_over(chosen text[], claimer text, moment timestamptz)
RETURNS TABLE (id text, name text, epoch integer, recovery_attempts integer, failures integer, queue text,
               serialization text, input text, again_in_ms float8, contended text[], left_due text[],
               deadline timestamptz, context jsonb)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH claimed AS (
    UPDATE dbos.workflows w
       SET status = 'PENDING', executor_id = claimer, epoch = w.epoch + 1,
           started_at = coalesce(w.started_at, moment), updated_at = now(),
           deadline = coalesce(w.deadline, date_trunc('milliseconds', moment) + w.timeout_ms * interval '1 millisecond')
     WHERE w.id = ANY (chosen)
    RETURNING w.*
  )
  SELECT claimed.id, claimed.name, claimed.epoch, claimed.recovery_attempts, claimed.failures, claimed.queue,
         claimed.serialization, claimed.input, NULL::float8, NULL::text[], NULL::text[], claimed.deadline,
         claimed.context
    FROM claimed
   ORDER BY claimed.priority, claimed.seq;
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
               serialization text, input text, again_in_ms float8, contended text[], left_due text[],
               deadline timestamptz, context jsonb)
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
  soon CONSTANT float8 := 10;
  room integer := at_most;
  free integer;
  chosen text[];
  awake text[]; -- what became due
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
  chosen := ARRAY(
    SELECT w.id
      FROM dbos.workflows w
     WHERE w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue IS NULL AND w.name = ANY (names)
     ORDER BY w.priority, w.seq
     LIMIT room
       FOR NO KEY UPDATE SKIP LOCKED);
  RETURN QUERY SELECT * FROM dbos.take_over(chosen, claimer, clock_timestamp());
  room := room - cardinality(chosen);

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

    moment := clock_timestamp(); -- of these claims: after the turn was taken, before the queue is looked through
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
    RETURN QUERY SELECT * FROM dbos.take_over(chosen, claimer, moment);
    room := room - cardinality(chosen);
  END LOOP;

  RETURN QUERY SELECT NULL::text, NULL::text, NULL::integer, NULL::integer, NULL::integer, NULL::text, NULL::text,
                      NULL::text, CASE WHEN again IS NOT NULL THEN greatest(again, soon) END, held_back,
                      ARRAY(SELECT DISTINCT coalesce(w.queue, '')
                              FROM dbos.workflows w
                             WHERE w.id = ANY (awake) AND w.status = 'ENQUEUED'),
                      NULL::timestamptz, NULL::jsonb;
END
$$;

-- Renews the lease of an executor and, where it may, declares dead those that are gone. `dead` are all dead executors
-- that may still own workflows, those without a row of their own included. An executor whose session has ended, but whose
-- last heartbeat is younger than the grace, is suspect: `suspect_in_ms` says when it is to be looked at again.
--
-- `next_deadline_in_ms` is when the next workflow is to be cancelled; null for none.
CREATE FUNCTION dbos.heartbeat(executor text, lock bigint, may_declare boolean, grace_ms integer)
RETURNS TABLE (alive boolean, database_now timestamptz, dead text[], has_audience boolean, suspect_in_ms float8,
               next_deadline_in_ms float8)
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

  next_deadline_in_ms := (
    SELECT extract(epoch FROM w.deadline - clock_timestamp()) * 1000
      FROM dbos.workflows w
     WHERE w.deadline IS NOT NULL AND w.completed_at IS NULL
     ORDER BY w.deadline
     LIMIT 1);

  database_now := clock_timestamp();
  RETURN NEXT;
END
$$;

-- Cancels workflows whose deadline has passed, the earliest first, whoever owns them; none has ended before its deadline, so
-- what is recorded is the moment that was compared and not the beginning of the transaction. The last row has no id: it says in how
-- many milliseconds the next deadline is (not above 0: somebody holds its row locked), null for none.
CREATE FUNCTION dbos.expire_workflows(at_most integer)
RETURNS TABLE (id text, epoch integer, next_in_ms float8)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH expired AS (
    UPDATE dbos.workflows w
       SET status = 'CANCELLED', cancel_reason = 'deadline', executor_id = NULL, wake_at = NULL, awaited_topics = NULL,
           completed_at = clock_timestamp(), updated_at = now()
     WHERE w.id = ANY (ARRAY(
             SELECT due.id
               FROM dbos.workflows due
              WHERE due.deadline <= clock_timestamp() AND due.completed_at IS NULL
              ORDER BY due.deadline
              LIMIT at_most
                FOR NO KEY UPDATE SKIP LOCKED))
    RETURNING w.id, w.epoch
  ), noted AS (
    INSERT INTO dbos.workflow_actions (workflow_id, action)
    SELECT expired.id, 'timedOut' FROM expired
  )
  SELECT expired.id, expired.epoch, NULL::float8 FROM expired;

  RETURN QUERY
  SELECT NULL::text, NULL::integer,
         (SELECT (extract(epoch FROM w.deadline - clock_timestamp()) * 1000)::float8
            FROM dbos.workflows w
           WHERE w.deadline IS NOT NULL AND w.completed_at IS NULL
           ORDER BY w.deadline
           LIMIT 1);
END
$$;

-- The given workflows and all that they have started, and what those have, however deep.
CREATE FUNCTION dbos.family_of(ids text[]) RETURNS text[]
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
BEGIN
  RETURN ARRAY(
    WITH RECURSIVE family AS (
      SELECT given.id COLLATE "C" AS id FROM unnest(ids) AS given(id)
       UNION
      SELECT child.id
        FROM family
       CROSS JOIN LATERAL (SELECT w.id FROM dbos.workflows w WHERE w.parent_id = family.id) AS child
    )
    SELECT family.id FROM family ORDER BY family.id);
END
$$;

-- Ends workflows that have no outcome yet, and gives those that it changed. With children all their descendants as well;
-- what was started between the search for them and the lock is found by calling again, and nothing can be started after
-- that (`start_workflows`). Rows are locked in the order of ids, as every statement does that may wait for several; the
-- lock is the one that starts of children wait for.
CREATE FUNCTION dbos.cancel_workflows(ids text[], with_children boolean, actor text)
RETURNS TABLE (id text, epoch integer)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  targets text[] := ids;
BEGIN
  IF with_children THEN
    targets := dbos.family_of(ids);
  END IF;
  PERFORM
     FROM (SELECT DISTINCT given.id COLLATE "C" AS id FROM unnest(targets) AS given(id) ORDER BY 1) AS given
    CROSS JOIN LATERAL (SELECT FROM dbos.workflows w WHERE w.id = given.id LIMIT 1 FOR UPDATE) AS locked;

  IF with_children THEN
    UPDATE dbos.workflows w
       SET cancels_children = true
     WHERE w.id = ANY (targets) AND w.cancels_children IS NULL
       AND w.status IN ('PENDING', 'ENQUEUED', 'DELAYED', 'SUSPENDED', 'CANCELLED');
  END IF;

  RETURN QUERY
  WITH cancelled AS (
    UPDATE dbos.workflows w
       SET status = 'CANCELLED', cancel_reason = 'requested', executor_id = NULL, wake_at = NULL, awaited_topics = NULL,
           completed_at = now(), updated_at = now()
     WHERE w.id = ANY (targets) AND w.status IN ('PENDING', 'ENQUEUED', 'DELAYED', 'SUSPENDED')
    RETURNING w.id, w.epoch
  ), noted AS (
    INSERT INTO dbos.workflow_actions (workflow_id, action, actor)
    SELECT cancelled.id, 'cancelled', actor FROM cancelled
  )
  SELECT cancelled.id, cancelled.epoch FROM cancelled;
END
$$;

-- Sends workflows that have neither succeeded nor failed back to be claimed, with a fresh budget of recoveries, and gives
-- those that it changed. What had ended begins a new time limit: a timeout counts from its next claim, a deadline is over.
-- A PENDING one runs or will be recovered: a fenced copy of it would only repeat work.
CREATE FUNCTION dbos.resume_workflows(ids text[], placement json, actor text)
RETURNS TABLE (id text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  PERFORM
     FROM (SELECT DISTINCT given.id COLLATE "C" AS id FROM unnest(ids) AS given(id) ORDER BY 1) AS given
    CROSS JOIN LATERAL (SELECT FROM dbos.workflows w WHERE w.id = given.id LIMIT 1 FOR NO KEY UPDATE) AS locked;

  RETURN QUERY
  WITH resumed AS (
    UPDATE dbos.workflows w
       SET status = 'ENQUEUED', executor_id = NULL, recovery_attempts = 0, wake_at = NULL, awaited_topics = NULL,
           error = NULL, cancel_reason = NULL, cancels_children = NULL,
           deadline = CASE WHEN w.completed_at IS NULL THEN w.deadline END,
           deduplication_id = CASE WHEN w.completed_at IS NULL AND placement IS NULL THEN w.deduplication_id END,
           debounce_key = NULL, completed_at = NULL, updated_at = now(),
           queue = CASE WHEN placement IS NULL THEN w.queue ELSE placement->>'queue' END,
           partition_key = CASE WHEN placement IS NULL THEN w.partition_key ELSE placement->>'partition_key' END,
           priority = coalesce((placement->>'priority')::integer, w.priority)
     WHERE w.id = ANY (ids) AND w.status IN ('DELAYED', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', 'SUSPENDED')
    RETURNING w.id
  ), noted AS (
    INSERT INTO dbos.workflow_actions (workflow_id, action, actor, detail)
    SELECT resumed.id, 'resumed', actor, placement::jsonb FROM resumed
  )
  SELECT resumed.id FROM resumed;
END
$$;

-- Begins new workflows where others stood at a step: each gets the input of its origin, and the steps before the given
-- one with the events and stream entries that they left, as of then. Says what became of each: forked (now, or by an
-- earlier call), unknown (there is no origin), no step (none has the given name), taken (the new id is another's).
--
-- The row of the origin is locked, so that all is copied from one moment of it.
CREATE FUNCTION dbos.fork_workflows(forks json)
RETURNS TABLE (place integer, result text, name text, origin_name text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  everything CONSTANT integer := 2147483647;
  line record;
  origin dbos.workflows;
  first integer; -- position of the first step that is not copied
BEGIN
  FOR line IN
    SELECT *
      FROM json_to_recordset(forks) AS given(
             place integer, origin_id text, id text, action text, actor text, from_position integer, from_name text,
             application_version text, placement json, timeout_ms float8, deadline timestamptz, is_limited boolean)
     ORDER BY given.origin_id COLLATE "C", given.place
  LOOP
    place := line.place;
    name := NULL;
    origin_name := NULL;
    SELECT w.* INTO origin FROM dbos.workflows w WHERE w.id = line.origin_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
      result := 'unknown';
      RETURN NEXT;
      CONTINUE;
    END IF;

    name := origin.name;
    origin_name := origin.name;
    first := line.from_position;
    IF line.from_name IS NOT NULL THEN
      SELECT min(split_part(s.step_id, '.', 1)::integer) INTO first
        FROM dbos.steps s
       WHERE s.workflow_id = origin.id AND s.name = line.from_name;
      IF first IS NULL THEN
        result := 'no step';
        RETURN NEXT;
        CONTINUE;
      END IF;
    ELSIF first IS NULL THEN -- from the last step that failed; where none did, all that is recorded stands
      SELECT coalesce(max(split_part(s.step_id, '.', 1)::integer), everything) INTO first
        FROM dbos.steps s
       WHERE s.workflow_id = origin.id AND s.error IS NOT NULL;
    END IF;

    -- The epoch makes the first run of a fork read its history.
    INSERT INTO dbos.workflows AS w (id, name, status, epoch, application_version, attributes, context, serialization, input,
                                     queue, priority, partition_key, timeout_ms, deadline, forked_from)
    VALUES (line.id, origin.name, 'ENQUEUED', CASE WHEN first = 0 THEN 0 ELSE 1 END,
            coalesce(line.application_version, origin.application_version), origin.attributes, origin.context,
            origin.serialization, origin.input,
            CASE WHEN line.placement IS NULL THEN origin.queue ELSE line.placement->>'queue' END,
            coalesce((line.placement->>'priority')::integer, origin.priority),
            CASE WHEN line.placement IS NULL THEN origin.partition_key ELSE line.placement->>'partition_key' END,
            CASE WHEN line.is_limited THEN line.timeout_ms ELSE origin.timeout_ms END, line.deadline, origin.id)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      SELECT CASE WHEN w.forked_from = origin.id THEN 'forked' ELSE 'taken' END, w.name INTO result, name
        FROM dbos.workflows w
       WHERE w.id = line.id;
      RETURN NEXT;
      CONTINUE;
    END IF;

    -- What waits has two steps, and the first is until when: one that waits anew does so from now on.
    INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, error, child_workflow_id, attempts,
                            started_at, completed_at)
    SELECT line.id, s.step_id, s.name, 1, s.serialization, s.output, s.error, s.child_workflow_id, s.attempts,
           s.started_at, s.completed_at
      FROM dbos.steps s
     WHERE s.workflow_id = origin.id AND split_part(s.step_id, '.', 1)::integer < first
       AND NOT (s.name IN ('flow.recv deadline', 'workflows.getEvent deadline') AND s.step_id = (first::bigint - 1)::text);

    INSERT INTO dbos.events (workflow_id, step_id, epoch, key, serialization, value, created_at)
    SELECT line.id, e.step_id, e.epoch, e.key, e.serialization, e.value, e.created_at
      FROM dbos.events e
     WHERE e.workflow_id = origin.id AND split_part(e.step_id, '.', 1)::integer < first
     ORDER BY e.seq;

    INSERT INTO dbos.stream_entries (workflow_id, key, "offset", step_id, epoch, serialization, value, created_at)
    SELECT line.id, e.key, row_number() OVER (PARTITION BY e.key ORDER BY e."offset") - 1, e.step_id, e.epoch,
           e.serialization, e.value, e.created_at
      FROM dbos.stream_entries e
     WHERE e.workflow_id = origin.id AND split_part(e.step_id, '.', 1)::integer < first;

    INSERT INTO dbos.workflow_actions (workflow_id, action, actor, detail)
    VALUES (origin.id, line.action, line.actor,
            jsonb_build_object('into', line.id, 'fromStep', CASE WHEN first < everything THEN first END));
    result := 'forked';
    RETURN NEXT;
  END LOOP;
END
$$;

-- Deletes workflows with everything of theirs, and gives those that there were. With children all their descendants as
-- well, as `cancel_workflows` finds them. What was done to them stays on record.
CREATE FUNCTION dbos.delete_workflows(ids text[], with_children boolean, actor text)
RETURNS TABLE (id text, epoch integer)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  targets text[] := ids;
BEGIN
  IF with_children THEN
    targets := dbos.family_of(ids);
  END IF;
  PERFORM
     FROM (SELECT DISTINCT given.id COLLATE "C" AS id FROM unnest(targets) AS given(id) ORDER BY 1) AS given
    CROSS JOIN LATERAL (SELECT FROM dbos.workflows w WHERE w.id = given.id LIMIT 1 FOR UPDATE) AS locked;

  DELETE FROM dbos.steps s WHERE s.workflow_id = ANY (targets);
  DELETE FROM dbos.messages m WHERE m.workflow_id = ANY (targets);
  DELETE FROM dbos.events e WHERE e.workflow_id = ANY (targets);
  DELETE FROM dbos.tokens t WHERE t.workflow_id = ANY (targets);
  DELETE FROM dbos.stream_entries e WHERE e.workflow_id = ANY (targets);

  RETURN QUERY
  WITH deleted AS (
    DELETE FROM dbos.workflows w WHERE w.id = ANY (targets) RETURNING w.id, w.epoch
  ), noted AS (
    INSERT INTO dbos.workflow_actions (workflow_id, action, actor)
    SELECT deleted.id, 'deleted', actor FROM deleted
  )
  SELECT deleted.id, deleted.epoch FROM deleted;
END
$$;
