-- The claim tells more of the queues.

-- Takes waiting workflows for an executor, at most `at_most`, and gives them back whole. First what is due becomes
-- claimable. The last row has no id: it says in how many milliseconds to ask again at the latest (null: nobody knows of
-- anything), which queues hold back more than their limits let out now, and of which ('': none) something has become due
-- and was not taken. Its context tells of the queues it was asked for: those with limits that processes share (`shared`), as far
-- as something waited there, and those that are paused.
--
-- `listening` names the queues to claim from, in order of preference, and what this executor has of each at work.
--
-- Exact limits. Claims on a queue with a limit that processes share take turns before anything is counted, and every
-- statement of a function sees what had been committed when it began (READ COMMITTED): two claims can never spend the
-- same budget, and neither has to be tried again. Claims on other queues pass each other with SKIP LOCKED.
--
-- Windows of rate limits are kept a little longer than asked for, for a body begins a moment after its claim.
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
                      NULL::timestamptz, jsonb_build_object('shared', counted, 'paused', ARRAY(
                        SELECT q.name
                          FROM json_to_recordset(listening) AS given(queue text)
                          JOIN dbos.queues q ON q.name = given.queue
                         WHERE q.paused));
END
$$;
