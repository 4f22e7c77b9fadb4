-- Why a workflow is where it is.

-- What an executor takes up; null: it does not say (an older version). A handful of rows.
ALTER TABLE dbos.executors
  ADD COLUMN workflow_names text[],
  ADD COLUMN queues         text[];

-- All that bears on a workflow, in one snapshot: its row, its owner, who else is alive, its queue with what is before it and
-- at work, its last step and the child that this has started. Null when there is no such workflow. Nothing is counted
-- beyond `at_most`.
CREATE FUNCTION dbos.workflow_facts(workflow_id text, at_most integer, grace_ms integer) RETURNS json
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
           'id', e.id, 'workflows', e.workflow_names, 'queues', e.queues,
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
                                  AND (other.priority, other.seq) < (w.priority, w.seq)
                                LIMIT at_most) AS counted)
                    + (SELECT count(*)
                         FROM (SELECT FROM dbos.workflows other
                                WHERE other.status = 'ENQUEUED' AND other.partition_key IS NULL
                                  AND w.partition_key IS NULL AND other.queue IS NULL AND w.queue IS NULL
                                  AND (other.priority, other.seq) < (w.priority, w.seq)
                                LIMIT at_most) AS counted)
                    + (SELECT count(*)
                         FROM (SELECT FROM dbos.workflows other
                                WHERE other.status = 'ENQUEUED' AND other.partition_key = w.partition_key
                                  AND other.queue = w.queue
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

-- How much of a rate limit is used up; null where there is none, or where there is room. `until`: then there is room.
CREATE FUNCTION dbos.rate_facts(queue_name text, partition_of text, most integer, period_ms integer) RETURNS json
LANGUAGE sql STABLE
RETURN (
  SELECT json_build_object('claims', used.claims, 'limit', most, 'periodMs', period_ms,
                           'until', used.oldest + period_ms * interval '1 millisecond' + dbos.rate_margin(period_ms))
    FROM (SELECT sum(c.claims) AS claims, min(c.claimed_at) AS oldest
            FROM dbos.queue_claims c
           WHERE c.queue = queue_name AND c.partition_key = partition_of
             AND c.claimed_at > clock_timestamp() - period_ms * interval '1 millisecond'
                                - dbos.rate_margin(period_ms)) AS used
   WHERE used.claims >= most);
