-- Versions of the application: which there are, who runs which, and moving workflows from one to another.
--
-- A workflow belongs to the version that started it, or that claimed it last, and is claimed by executors that may run that
-- version: their own, and those that they are told of. What has no version is for the latest that has its workflow.

-- When each version first joined: the latest is the last of those that are alive. A row for each deployment.
CREATE TABLE dbos.application_versions (
  version       text        COLLATE "C" NOT NULL,
  registered_at timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT application_versions_pkey PRIMARY KEY (version)
);

-- Versions besides its own that an executor may run.
ALTER TABLE dbos.executors ADD COLUMN compatible_versions text[];

-- Every claim asks whether other versions are alive that run workflows. A heartbeat changes nothing of it.
CREATE INDEX executors_version_idx ON dbos.executors (application_version COLLATE "C")
  WHERE dead_at IS NULL AND cardinality(workflow_names) > 0;

-- What waits, in the order in which it is claimed, in a lane for each version ('': without one): a claim does not walk
-- through what it may not take, however much is stranded there. A row is in one of the two, as before. The collation is
-- that of the comparison alone: bytes, for equality.
DROP INDEX dbos.workflows_enqueued_idx;
CREATE INDEX workflows_enqueued_idx
  ON dbos.workflows (queue, coalesce(application_version, '') COLLATE "C", priority, seq)
  WHERE status = 'ENQUEUED' AND partition_key IS NULL;
DROP INDEX dbos.workflows_partition_idx;
CREATE INDEX workflows_partition_idx
  ON dbos.workflows (queue, coalesce(application_version, '') COLLATE "C", partition_key, priority, seq)
  WHERE status = 'ENQUEUED' AND partition_key IS NOT NULL;

-- Of these names those that no later version registers that is alive. The first look, two index probes, is all that there
-- is to it while everybody alive is of one version. Who is not registered is taken for new.
--
-- Like all functions here without settings of its own it is planned under those of its callers: without sequential scans.
CREATE FUNCTION dbos.latest_names(own text, names text[]) RETURNS text[]
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
  later text[];
BEGIN
  IF coalesce(
       (SELECT true FROM dbos.executors e
         WHERE e.dead_at IS NULL AND cardinality(e.workflow_names) > 0
           AND e.application_version < own COLLATE "C" LIMIT 1),
       (SELECT true FROM dbos.executors e
         WHERE e.dead_at IS NULL AND cardinality(e.workflow_names) > 0
           AND e.application_version > own COLLATE "C" LIMIT 1)) IS NULL THEN
    RETURN names;
  END IF;
  later := ARRAY(
    SELECT DISTINCT registered.name
      FROM dbos.executors e
     CROSS JOIN LATERAL (
             SELECT a.registered_at FROM dbos.application_versions a
              WHERE a.version = e.application_version COLLATE "C" LIMIT 1) AS other
     CROSS JOIN LATERAL unnest(e.workflow_names) AS registered(name)
     WHERE e.dead_at IS NULL AND cardinality(e.workflow_names) > 0
       AND other.registered_at > (SELECT a.registered_at FROM dbos.application_versions a
                                   WHERE a.version = own COLLATE "C" LIMIT 1));
  RETURN ARRAY(SELECT given.name FROM unnest(names) AS given(name) WHERE given.name <> ALL (later));
END
$$;

-- The versions that an executor may run of a workflow, '' among them where it takes those without; null: it does not say.
CREATE FUNCTION dbos.versions_of(e dbos.executors, workflow_name text) RETURNS text[]
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
  RETURN CASE WHEN e.application_version IS NOT NULL
              THEN ARRAY[e.application_version] || coalesce(e.compatible_versions, '{}')
                   || CASE WHEN cardinality(dbos.latest_names(e.application_version, ARRAY[workflow_name])) > 0
                           THEN ARRAY[''] ELSE '{}' END END;
END
$$;

-- Up to `at_most` workflows that wait on a queue (null: on none) in one lane, the first ones that nobody holds, and locks
-- them. `held` are those that this transaction holds, which it would not pass by.
CREATE FUNCTION dbos.choose_of_lane(on_queue text, lane text, names text[], held text[], at_most integer) RETURNS text[]
LANGUAGE plpgsql
AS $$
BEGIN
  IF on_queue IS NULL THEN
    RETURN ARRAY(
      SELECT w.id
        FROM dbos.workflows w
       WHERE w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue IS NULL
         AND coalesce(w.application_version, '') = lane COLLATE "C" AND w.name = ANY (names)
         AND w.id <> ALL (held)
       ORDER BY w.queue, w.priority, w.seq -- the first as well: IS NULL makes it no constant to the planner
       LIMIT at_most
         FOR NO KEY UPDATE SKIP LOCKED);
  END IF;
  RETURN ARRAY(
    SELECT w.id
      FROM dbos.workflows w
     WHERE w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue = on_queue
       AND coalesce(w.application_version, '') = lane COLLATE "C" AND w.name = ANY (names)
       AND w.id <> ALL (held)
     ORDER BY w.priority, w.seq
     LIMIT at_most
       FOR NO KEY UPDATE SKIP LOCKED);
END
$$;

-- The same for several lanes, in the order of the queue; `loose` are the names of which it may take what has no version.
--
-- As nothing is locked that is not taken (others would pass it by, and look for it again only at their next poll), a look
-- without locks says how many of each lane are among the first. Where somebody holds some of them, others of any lane
-- make up for them.
CREATE FUNCTION dbos.choose_of_lanes(on_queue text, lanes text[], names text[], loose text[], at_most integer)
RETURNS text[]
LANGUAGE plpgsql
AS $$
DECLARE
  chosen text[] := '{}';
  seen integer := 0;
  others_wait boolean;
  other text;
  share record;
BEGIN
  IF at_most <= 0 THEN
    RETURN chosen;
  END IF;
  FOREACH other IN ARRAY lanes[2:]
  LOOP
    IF on_queue IS NULL THEN
      others_wait := (SELECT true FROM dbos.workflows w
                       WHERE w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue IS NULL
                         AND coalesce(w.application_version, '') = other COLLATE "C" LIMIT 1);
    ELSE
      others_wait := (SELECT true FROM dbos.workflows w
                       WHERE w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue = on_queue
                         AND coalesce(w.application_version, '') = other COLLATE "C" LIMIT 1);
    END IF;
    EXIT WHEN others_wait;
  END LOOP;
  IF others_wait IS NULL THEN -- the usual case: nothing but its own
    RETURN dbos.choose_of_lane(on_queue, lanes[1], CASE lanes[1] WHEN '' THEN loose ELSE names END, '{}', at_most);
  END IF;

  FOR share IN
    SELECT first.version, count(*)::integer AS workflows
      FROM (SELECT lane.version, waiting.priority, waiting.seq
              FROM unnest(lanes) AS lane(version)
             CROSS JOIN LATERAL (
                     (SELECT w.priority, w.seq
                        FROM dbos.workflows w
                       WHERE on_queue IS NULL AND w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue IS NULL
                         AND coalesce(w.application_version, '') = lane.version COLLATE "C"
                         AND w.name = ANY (CASE lane.version WHEN '' THEN loose ELSE names END)
                       ORDER BY w.queue, w.priority, w.seq
                       LIMIT at_most)
                      UNION ALL
                     (SELECT w.priority, w.seq
                        FROM dbos.workflows w
                       WHERE w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue = on_queue
                         AND coalesce(w.application_version, '') = lane.version COLLATE "C"
                         AND w.name = ANY (CASE lane.version WHEN '' THEN loose ELSE names END)
                       ORDER BY w.priority, w.seq
                       LIMIT at_most)) AS waiting
             ORDER BY waiting.priority, waiting.seq
             LIMIT at_most) AS first
     GROUP BY first.version
  LOOP
    seen := seen + share.workflows;
    chosen := chosen || dbos.choose_of_lane(on_queue, share.version, CASE share.version WHEN '' THEN loose ELSE names END,
                                            '{}', share.workflows);
  END LOOP;
  -- Nothing to do unless somebody held some.
  FOR share IN SELECT of.version FROM unnest(lanes) AS of(version) WHERE cardinality(chosen) < seen
  LOOP
    EXIT WHEN cardinality(chosen) >= at_most;
    chosen := chosen || dbos.choose_of_lane(on_queue, share.version, CASE share.version WHEN '' THEN loose ELSE names END,
                                            chosen, at_most - cardinality(chosen));
  END LOOP;
  RETURN chosen;
END
$$;

-- As the function of two fewer, for lanes: partitions in which only others' work waits are not looked at.
--
-- Up to `at_most` waiting workflows of a queue's partitions, as far as each partition's own limits have room, in the order
-- of the whole queue. Without bitmaps, for they give up the order of an index.
CREATE FUNCTION dbos.choose_of_partitions(
  settings dbos.queues, lanes text[], names text[], loose text[], at_most integer, moment timestamptz
)
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
      SELECT lane.version AS lane, first.partition_key
        FROM unnest(lanes) AS lane(version)
       CROSS JOIN LATERAL (
               SELECT w.partition_key
                 FROM dbos.workflows w
                WHERE w.status = 'ENQUEUED' AND w.partition_key IS NOT NULL AND w.queue = settings.name
                  AND coalesce(w.application_version, '') = lane.version COLLATE "C"
                ORDER BY w.partition_key
                LIMIT 1) AS first
       UNION ALL
      SELECT part.lane,
             (SELECT w.partition_key
                FROM dbos.workflows w
               WHERE w.status = 'ENQUEUED' AND w.partition_key IS NOT NULL AND w.queue = settings.name
                 AND coalesce(w.application_version, '') = part.lane COLLATE "C"
                 AND w.partition_key > part.partition_key
               ORDER BY w.partition_key
               LIMIT 1)
        FROM part
       WHERE part.partition_key IS NOT NULL
    ), head AS MATERIALIZED ( -- the first of each partition, whatever its version
      SELECT DISTINCT ON (part.partition_key) part.partition_key, of_lane.priority, of_lane.seq
        FROM part
       CROSS JOIN LATERAL (
               SELECT w.priority, w.seq
                 FROM dbos.workflows w
                WHERE w.status = 'ENQUEUED' AND w.partition_key = part.partition_key AND w.queue = settings.name
                  AND coalesce(w.application_version, '') = part.lane COLLATE "C"
                  AND w.name = ANY (CASE part.lane WHEN '' THEN loose ELSE names END)
                ORDER BY w.priority, w.seq
                LIMIT 1) AS of_lane
       WHERE part.partition_key IS NOT NULL
       ORDER BY part.partition_key, of_lane.priority, of_lane.seq
    ), space AS MATERIALIZED (
      SELECT head.partition_key, head.priority, head.seq,
             least(at_most,
                   CASE WHEN settings.partition_concurrency IS NOT NULL
                        THEN settings.partition_concurrency
                               - (SELECT count(*)
                                    FROM (SELECT FROM dbos.workflows w
                                           WHERE w.status = 'PENDING' AND w.queue = settings.name
                                             AND w.partition_key = head.partition_key
                                           LIMIT settings.partition_concurrency) AS at_work) END,
                   CASE WHEN settings.partition_rate_limit IS NOT NULL
                        THEN settings.partition_rate_limit
                               - (SELECT coalesce(sum(c.claims), 0)
                                    FROM dbos.queue_claims c
                                   WHERE c.queue = settings.name AND c.partition_key = head.partition_key
                                     AND c.claimed_at > since) END) AS free
        FROM head
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
             SELECT of_lane.id, of_lane.priority, of_lane.seq
               FROM unnest(lanes) AS lane(version)
              CROSS JOIN LATERAL (
                      SELECT w.id, w.priority, w.seq
                        FROM dbos.workflows w
                       WHERE w.status = 'ENQUEUED' AND w.partition_key = foremost.partition_key
                         AND w.queue = settings.name
                         AND coalesce(w.application_version, '') = lane.version COLLATE "C"
                         AND w.name = ANY (CASE lane.version WHEN '' THEN loose ELSE names END)
                       ORDER BY w.priority, w.seq
                       LIMIT least(foremost.free, at_most - foremost.place + 1)) AS of_lane
              ORDER BY of_lane.priority, of_lane.seq
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

-- As the function of one fewer. What is claimed is of its claimer's version from then on (null: it has none), for this is
-- the code that adds to its history.
CREATE FUNCTION dbos.take_over(chosen text[], claimer text, version text, moment timestamptz)
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
           application_version = coalesce(version, w.application_version),
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

-- As the function of one fewer, for executors that know of versions: `versions` are those that this one may run, its own
-- first. What has none is for the latest that is alive and has its workflow.
--
-- The context of the last row tells of the queues that were asked for: those with limits that processes share (`shared`), as
-- far as something waited there, and those that are paused.
CREATE FUNCTION dbos.claim_workflows(
  claimer text, names text[], versions text[], listening json, at_most integer, expires_at timestamptz
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
  own CONSTANT text := nullif(versions[1], '');
  lanes text[] := versions; -- '': without a version
  loose text[] := names;    -- of which it may take what has none
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

  IF '' <> ALL (versions) THEN
    loose := dbos.latest_names(own, names);
    IF cardinality(loose) > 0 THEN
      lanes := array_append(lanes, '');
    END IF;
  END IF;

  -- On no queue: what was recovered, woken, or started where there was no slot.
  chosen := dbos.choose_of_lanes(NULL, lanes, names, loose, room);
  RETURN QUERY SELECT * FROM dbos.take_over(chosen, claimer, own, clock_timestamp());
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

    chosen := dbos.choose_of_lanes(line.queue, lanes, names, loose, free);
    IF free > cardinality(chosen) THEN
      chosen := chosen || dbos.choose_of_partitions(settings, lanes, names, loose, free - cardinality(chosen),
                                                    moment);
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
    RETURN QUERY SELECT * FROM dbos.take_over(chosen, claimer, own, moment);
    room := room - cardinality(chosen);
  END LOOP;

  RETURN QUERY SELECT NULL::text, NULL::text, NULL::integer, NULL::integer, NULL::integer, NULL::text, NULL::text,
                      NULL::text, CASE WHEN again IS NOT NULL THEN greatest(again, soon) END, held_back,
                      ARRAY(SELECT DISTINCT coalesce(w.queue, '')
                              FROM dbos.workflows w
                             WHERE w.id = ANY (awake) AND w.status = 'ENQUEUED'),
                      NULL::timestamptz, jsonb_build_object('shared', counted, 'paused', ARRAY(
                        SELECT q.name
                          FROM json_to_recordset(listening) AS given(queue text)
                          JOIN dbos.queues q ON q.name = given.queue
                         WHERE q.paused));
END
$$;

-- Versions of which an executor may take everything that knows of no versions: its own, none, and those that wait for it and
-- of which no executor has ever joined that knows of them. Found by an index probe for each.
CREATE FUNCTION dbos.unpinned_versions(executor text, listening json) RETURNS text[]
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
  lanes text[] := ARRAY[coalesce((SELECT e.application_version FROM dbos.executors e WHERE e.id = executor), '')];
  line record;
  lane text;
BEGIN
  FOR line IN
    SELECT NULL AS queue, false AS partitioned
     UNION ALL
    SELECT given.queue, of.partitioned
      FROM json_to_recordset(listening) AS given(queue text), (VALUES (false), (true)) AS of(partitioned)
  LOOP
    lane := '';
    LOOP
      IF line.queue IS NULL THEN
        SELECT coalesce(w.application_version, '') INTO lane
          FROM dbos.workflows w
         WHERE w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue IS NULL
           AND coalesce(w.application_version, '') > lane COLLATE "C"
         ORDER BY w.queue, coalesce(w.application_version, '') COLLATE "C"
         LIMIT 1;
      ELSIF line.partitioned THEN
        SELECT coalesce(w.application_version, '') INTO lane
          FROM dbos.workflows w
         WHERE w.status = 'ENQUEUED' AND w.partition_key IS NOT NULL AND w.queue = line.queue
           AND coalesce(w.application_version, '') > lane COLLATE "C"
         ORDER BY coalesce(w.application_version, '') COLLATE "C"
         LIMIT 1;
      ELSE
        SELECT coalesce(w.application_version, '') INTO lane
          FROM dbos.workflows w
         WHERE w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue = line.queue
           AND coalesce(w.application_version, '') > lane COLLATE "C"
         ORDER BY coalesce(w.application_version, '') COLLATE "C"
         LIMIT 1;
      END IF;
      EXIT WHEN lane IS NULL;
      IF lane <> ALL (lanes) AND NOT EXISTS (SELECT FROM dbos.application_versions a WHERE a.version = lane COLLATE "C") THEN
        lanes := lanes || lane;
      END IF;
    END LOOP;
  END LOOP;
  RETURN CASE WHEN '' = ANY (lanes) THEN lanes ELSE array_append(lanes, '') END;
END
$$;

-- The claim of processes from before there were versions, which work beside those of now during a deployment.
CREATE OR REPLACE FUNCTION dbos.claim_workflows(
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
BEGIN
  RETURN QUERY
  SELECT *
    FROM dbos.claim_workflows(claimer, names, dbos.unpinned_versions(claimer, listening), listening, at_most, expires_at);
END
$$;

-- What the former claim called: one that was under way during the migration ends with it.
CREATE OR REPLACE FUNCTION dbos.choose_of_partitions(settings dbos.queues, names text[], at_most integer, moment timestamptz)
RETURNS text[]
LANGUAGE plpgsql
AS $$
BEGIN
  RETURN dbos.choose_of_partitions(
    settings, dbos.unpinned_versions(NULL, json_build_array(json_build_object('queue', settings.name))), names, names,
    at_most, moment);
END
$$;

-- In the order of the lanes, as the indexes have it now.
CREATE OR REPLACE FUNCTION dbos.queue_backlogs(queue_names text[], at_most integer)
RETURNS TABLE (name text, paused boolean, enqueued integer, oldest_ms float8)
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT asked.name, known.paused, waiting.enqueued + in_partitions.enqueued,
         extract(epoch FROM clock_timestamp() - least(waiting.oldest, in_partitions.oldest))::float8 * 1000
    FROM unnest(queue_names) AS asked(name)
   CROSS JOIN LATERAL (
           SELECT q.paused FROM dbos.queues q WHERE q.name = asked.name COLLATE "C" LIMIT 1) AS known
   CROSS JOIN LATERAL (
           SELECT count(*)::integer AS enqueued, min(first.updated_at) AS oldest
             FROM (SELECT w.updated_at
                     FROM dbos.workflows w
                    WHERE w.status = 'ENQUEUED' AND w.partition_key IS NULL AND w.queue = asked.name COLLATE "C"
                    ORDER BY w.queue, coalesce(w.application_version, '') COLLATE "C", w.priority, w.seq
                    LIMIT at_most) AS first) AS waiting
   CROSS JOIN LATERAL (
           SELECT count(*)::integer AS enqueued, min(first.updated_at) AS oldest
             FROM (SELECT w.updated_at
                     FROM dbos.workflows w
                    WHERE w.status = 'ENQUEUED' AND w.partition_key IS NOT NULL AND w.queue = asked.name COLLATE "C"
                    ORDER BY w.queue, coalesce(w.application_version, '') COLLATE "C", w.partition_key,
                             w.priority, w.seq
                    LIMIT at_most) AS first) AS in_partitions;
END
$$;

-- What executors may run, too; and before a workflow is what is before it in its lane.
CREATE OR REPLACE FUNCTION dbos.workflow_facts(workflow_id text, at_most integer, grace_ms integer) RETURNS json
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  w dbos.workflows;
  q dbos.queues;
  owner json;
  executors json;
  last_step json;
  place json;
BEGIN
  SELECT * INTO w FROM dbos.workflows found WHERE found.id = workflow_facts.workflow_id;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  SELECT * INTO q FROM dbos.queues found WHERE found.name = w.queue;

  SELECT json_build_object(
           'id', e.id, 'hostname', e.hostname, 'pid', e.pid, 'heartbeatAt', e.heartbeat_at,
           'isDead', death.at <= now(), 'recoveryDueAt', greatest(
             death.at, now(), pg_postmaster_start_time() + e.lease_ms * interval '1 millisecond'))
    INTO owner
    FROM dbos.executors e
   CROSS JOIN LATERAL ( -- as `executor_is_gone` judges, but for the lease after a start of the server
           SELECT least(e.dead_at, e.heartbeat_at + e.lease_ms * interval '1 millisecond',
                        CASE WHEN dbos.session_is_gone(e.lock_key)
                             THEN e.heartbeat_at + grace_ms * interval '1 millisecond' END) AS at) AS death
   WHERE e.id = w.executor_id;

  SELECT coalesce(json_agg(json_build_object(
           'id', e.id, 'workflows', e.workflow_names, 'queues', e.queues, 'versions', dbos.versions_of(e, w.name),
           'atWork', CASE WHEN w.queue IS NOT NULL THEN (
                       SELECT count(*)
                         FROM (SELECT FROM dbos.workflows other
                                WHERE other.status = 'PENDING' AND other.executor_id = e.id COLLATE "default"
                                  AND other.queue = w.queue
                                LIMIT at_most) AS counted) END)), '[]')
    INTO executors
    FROM dbos.executors e
   WHERE e.dead_at IS NULL AND e.heartbeat_at + e.lease_ms * interval '1 millisecond' >= now();

  SELECT json_build_object(
           'stepId', s.step_id, 'name', s.name, 'completedAt', s.completed_at, 'attempts', s.attempts,
           'child', (SELECT json_build_object('workflowId', child.id, 'status', child.status)
                       FROM dbos.workflows child
                      WHERE child.id = s.child_workflow_id))
    INTO last_step
    FROM dbos.steps s
   WHERE s.workflow_id = w.id
   ORDER BY string_to_array(s.step_id, '.')::int[] DESC
   LIMIT 1;

  IF w.status = 'ENQUEUED' THEN
    SELECT json_build_object(
             'ahead', (SELECT count(*)
                         FROM (SELECT FROM dbos.workflows other
                                WHERE other.status = 'ENQUEUED' AND other.partition_key IS NULL
                                  AND w.partition_key IS NULL AND other.queue = w.queue
                                  AND coalesce(other.application_version, '')
                                        = coalesce(w.application_version, '') COLLATE "C"
                                  AND (other.priority, other.seq) < (w.priority, w.seq)
                                LIMIT at_most) AS counted)
                    + (SELECT count(*)
                         FROM (SELECT FROM dbos.workflows other
                                WHERE other.status = 'ENQUEUED' AND other.partition_key IS NULL
                                  AND w.partition_key IS NULL AND other.queue IS NULL AND w.queue IS NULL
                                  AND coalesce(other.application_version, '')
                                        = coalesce(w.application_version, '') COLLATE "C"
                                  AND (other.priority, other.seq) < (w.priority, w.seq)
                                LIMIT at_most) AS counted)
                    + (SELECT count(*)
                         FROM (SELECT FROM dbos.workflows other
                                WHERE other.status = 'ENQUEUED' AND other.partition_key = w.partition_key
                                  AND other.queue = w.queue
                                  AND coalesce(other.application_version, '')
                                        = coalesce(w.application_version, '') COLLATE "C"
                                  AND (other.priority, other.seq) < (w.priority, w.seq)
                                LIMIT at_most) AS counted),
             'atWork', (SELECT count(*)
                          FROM (SELECT FROM dbos.workflows other
                                 WHERE other.status = 'PENDING' AND other.queue = w.queue
                                 LIMIT at_most) AS counted),
             'atWorkInPartition', (SELECT count(*)
                                     FROM (SELECT FROM dbos.workflows other
                                            WHERE other.status = 'PENDING' AND other.queue = w.queue
                                              AND other.partition_key = w.partition_key
                                            LIMIT at_most) AS counted),
             'rate', dbos.rate_facts(w.queue, '', q.rate_limit, q.rate_period_ms),
             'partitionRate', dbos.rate_facts(w.queue, w.partition_key, q.partition_rate_limit,
                                              q.partition_rate_period_ms))
      INTO place;
  END IF;

  RETURN json_build_object(
    'now', clock_timestamp(),
    'workflow', json_build_object(
      'id', w.id, 'name', w.name, 'status', w.status, 'executorId', w.executor_id, 'epoch', w.epoch,
      'recoveryAttempts', w.recovery_attempts, 'failures', w.failures, 'queue', w.queue,
      'partitionKey', w.partition_key, 'applicationVersion', w.application_version,
      'error', w.error, 'outcomeSerialization', w.outcome_serialization, 'wakeAt', w.wake_at,
      'awaitedTopics', coalesce(w.awaited_topics, '{}'), 'isDebounced', w.debounce_key IS NOT NULL,
      'createdAt', w.created_at, 'startedAt', w.started_at, 'updatedAt', w.updated_at,
      'completedAt', w.completed_at),
    'owner', owner, 'executors', executors, 'lastStep', last_step, 'place', place,
    'queue', CASE WHEN q.name IS NOT NULL THEN row_to_json(q) END);
END
$$;

-- As `count_workflows`, by version; `is_runnable`: somebody alive may run this version. What has none is for whoever has its
-- workflow.
CREATE FUNCTION dbos.count_unfinished(statuses text[], at_most integer)
RETURNS TABLE (name text, status text, version text, is_runnable boolean, workflows integer, oldest timestamptz)
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  runnable text[]; -- null: somebody does not say
BEGIN
  SELECT CASE WHEN bool_or(e.application_version IS NULL) THEN NULL
              ELSE coalesce(array_agg(of.version) FILTER (WHERE of.version IS NOT NULL), '{}') END
    INTO runnable
    FROM dbos.executors e
    LEFT JOIN LATERAL unnest(e.application_version || e.compatible_versions) AS of(version) ON true
   WHERE e.dead_at IS NULL AND e.heartbeat_at + e.lease_ms * interval '1 millisecond' >= now()
     AND (e.workflow_names IS NULL OR cardinality(e.workflow_names) > 0);

  RETURN QUERY
  SELECT counted.name, counted.status, counted.version,
         runnable IS NULL OR counted.version IS NULL OR counted.version = ANY (runnable),
         count(*)::integer, min(counted.created_at)
    FROM unnest(statuses) AS asked(status)
   CROSS JOIN LATERAL (
           SELECT w.name, w.status, w.application_version AS version, w.created_at
             FROM dbos.workflows w
            WHERE w.status = asked.status COLLATE "C"
            ORDER BY w.seq
            LIMIT at_most) AS counted
   GROUP BY counted.name, counted.status, counted.version;
END
$$;

-- As the function of one fewer: what a version had to suspend goes on under the version that resumes it, for its own would
-- only suspend it again. A process of an earlier version that starts beside a later one leaves that one's alone.
CREATE FUNCTION dbos.resume_suspended(names text[], at_most integer, version text)
RETURNS TABLE (id text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  latest CONSTANT text[] := CASE WHEN version IS NULL THEN names ELSE dbos.latest_names(version, names) END;
BEGIN
  RETURN QUERY
  UPDATE dbos.workflows w
     SET status = 'ENQUEUED', recovery_attempts = 0, error = NULL, updated_at = now(),
         application_version = coalesce(version, w.application_version)
   WHERE w.id = ANY (ARRAY(
           SELECT suspended.id
             FROM dbos.workflows suspended
            WHERE suspended.status = 'SUSPENDED' COLLATE "C" AND suspended.name = ANY (names)
              AND (suspended.application_version IS NULL OR suspended.application_version = version
                   OR suspended.name = ANY (latest))
            ORDER BY suspended.seq
            LIMIT at_most
              FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING w.id;
END
$$;

-- Moves workflows that nobody owns to another version, and gives those that it moved. What runs is left to its owner, and
-- what has an outcome to history; what stands there already is not noted again.
--
-- The rows are locked first: a claim that has one of them comes before, and what it took is PENDING then.
CREATE FUNCTION dbos.move_to_version(ids text[], version text, actor text)
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
  WITH former AS MATERIALIZED (
    SELECT found.id, found.application_version
      FROM (SELECT DISTINCT given.id FROM unnest(ids) AS given(id)) AS given
     CROSS JOIN LATERAL (
             SELECT w.id, w.application_version, w.status FROM dbos.workflows w WHERE w.id = given.id LIMIT 1) AS found
     WHERE found.status IN ('ENQUEUED', 'DELAYED', 'SUSPENDED', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
       AND found.application_version IS DISTINCT FROM version
  ), moved AS (
    UPDATE dbos.workflows w
       SET application_version = version, updated_at = now()
     WHERE w.id = ANY (ARRAY(SELECT former.id FROM former))
    RETURNING w.id
  ), noted AS (
    INSERT INTO dbos.workflow_actions (workflow_id, action, actor, detail)
    SELECT former.id, 'versionSet', actor, jsonb_build_object('from', former.application_version, 'to', version)
      FROM former
  )
  SELECT moved.id FROM moved;
END
$$;

-- The same for what is not over of a version, the oldest first, at most so many of each status. An operator asks for it now
-- and then, so the walk goes along the index over all statuses.
CREATE FUNCTION dbos.move_version(former text, only_name text, version text, actor text, at_most integer)
RETURNS TABLE (id text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  IF former = version THEN
    RETURN;
  END IF;
  RETURN QUERY
  SELECT moved.id
    FROM dbos.move_to_version(ARRAY(
           SELECT found.id
             FROM unnest('{ENQUEUED,DELAYED,SUSPENDED,MAX_RECOVERY_ATTEMPTS_EXCEEDED}'::text[]) AS asked(status)
            CROSS JOIN LATERAL (
                    SELECT w.id
                      FROM dbos.workflows w
                     WHERE w.status = asked.status COLLATE "C" AND w.application_version = former
                       AND (only_name IS NULL OR w.name = only_name)
                     ORDER BY w.seq
                     LIMIT at_most) AS found), version, actor) AS moved(id);
END
$$;
