-- Messages: what others send to a workflow, and what it has received of that.

-- A parked workflow that waits for messages is woken by the first on any of these topics.
ALTER TABLE dbos.workflows ADD COLUMN awaited_topics text[];

-- One row for each message, kept until its workflow is deleted. Numbers are given under the lock of the workflow's row:
-- their order is the order in which the messages became visible.
CREATE TABLE dbos.messages (
  workflow_id     text        COLLATE "C" NOT NULL,             -- whom it was sent to
  seq             bigint      GENERATED ALWAYS AS IDENTITY,
  topic           text        COLLATE "C" NOT NULL,             -- empty: none
  idempotency_key text        COLLATE "C",
  serialization   text        NOT NULL,
  message         text        NOT NULL,
  consumed_by     text        COLLATE "C",                      -- the step that received it
  created_at      timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT messages_pkey PRIMARY KEY (workflow_id, seq)
);

-- What waits to be received; the oldest of a topic is one probe away, however much was received before.
CREATE INDEX messages_waiting_idx ON dbos.messages (workflow_id, topic, seq) WHERE consumed_by IS NULL;

-- A key counts once for each workflow it is sent to.
CREATE UNIQUE INDEX messages_idempotency_idx ON dbos.messages (workflow_id, idempotency_key)
  WHERE idempotency_key IS NOT NULL;

-- Sends messages. Those that a run sends (`sender_id`) are fenced, and the checkpoint of the sending is part of the same
-- commit; one that has its checkpoint is not sent again. Answers for each, under its place in the list, with the status
-- of the workflow it was sent to (null: there is none), who runs that, whether this woke it, and whether the sender owned
-- its own workflow.
--
-- A workflow that is being parked holds its row locked. Either the message is there when the parking looks for it
-- (`write_extras`), or the parking is done when the message comes, and then it wakes the workflow here.
CREATE FUNCTION dbos.send_messages(messages json)
RETURNS TABLE (place integer, status text, executor_id text, name text, queue text, woken boolean, owned boolean)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  -- In the order of ids, as everything does that locks several rows.
  PERFORM
     FROM (SELECT involved.id
             FROM json_to_recordset(messages) AS given(workflow_id text, sender_id text)
            CROSS JOIN LATERAL (VALUES (given.workflow_id), (given.sender_id)) AS involved(id)
            WHERE involved.id IS NOT NULL
            GROUP BY involved.id
            ORDER BY involved.id COLLATE "C") AS involved
    CROSS JOIN LATERAL (SELECT FROM dbos.workflows w WHERE w.id = involved.id LIMIT 1 FOR NO KEY UPDATE) AS locked;

  -- A statement of its own: its snapshot is younger than the locks.
  RETURN QUERY
  WITH given AS MATERIALIZED (
    SELECT given.*, destination.status, destination.executor_id AS runs_on, destination.name AS destination_name,
           destination.queue, sender.owns IS NOT FALSE AS owned,
           destination.status = 'DELAYED' AND given.topic = ANY (destination.awaited_topics) IS TRUE AS wakes
      FROM json_to_recordset(messages) AS given(
             place integer, workflow_id text, topic text, idempotency_key text, serialization text, message text,
             sender_id text, executor_id text, epoch integer, step_id text, step_name text, step_serialization text,
             step_output text)
      LEFT JOIN LATERAL (
             SELECT w.status, w.executor_id, w.name, w.queue, w.awaited_topics
               FROM dbos.workflows w
              WHERE w.id = given.workflow_id
              LIMIT 1) AS destination ON true
      LEFT JOIN LATERAL (
             SELECT w.status = 'PENDING' AND w.executor_id = given.executor_id AND w.epoch = given.epoch AS owns
               FROM dbos.workflows w
              WHERE w.id = given.sender_id
              LIMIT 1) AS sender ON true
  ), sendable AS MATERIALIZED (
    SELECT given.*
      FROM given
     WHERE given.status IS NOT NULL AND given.owned
       AND (given.sender_id IS NULL
            OR NOT EXISTS (SELECT FROM dbos.steps s WHERE s.workflow_id = given.sender_id AND s.step_id = given.step_id))
  ), recorded AS (
    INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, started_at)
    SELECT sendable.sender_id, sendable.step_id, sendable.step_name, sendable.epoch, sendable.step_serialization,
           sendable.step_output, now()
      FROM sendable
     WHERE sendable.sender_id IS NOT NULL
  ), sent AS (
    INSERT INTO dbos.messages (workflow_id, topic, idempotency_key, serialization, message)
    SELECT sendable.workflow_id, sendable.topic, sendable.idempotency_key, sendable.serialization, sendable.message
      FROM sendable
     ORDER BY sendable.place
        ON CONFLICT (workflow_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
  ), awakened AS (
    UPDATE dbos.workflows w
       SET status = 'ENQUEUED', wake_at = NULL, awaited_topics = NULL, updated_at = now()
     WHERE w.id = ANY (ARRAY(SELECT sendable.workflow_id FROM sendable WHERE sendable.wakes))
  )
  SELECT given.place, given.status, given.runs_on, given.destination_name, given.queue, given.wakes, given.owned
    FROM given;
END
$$;

-- Receives the oldest message of a topic for each run that owns its workflow and for which there is one: the message is
-- consumed, and the checkpoint of the receiving is part of the same commit. Where nothing has come and the time is up,
-- the given output is recorded instead. Without a row for its place a run has received nothing and goes on waiting; what
-- its step has recorded before is given back.
CREATE FUNCTION dbos.receive_messages(receipts json)
RETURNS TABLE (place integer, owned boolean, serialization text, output text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  receipt record;
  received record;
BEGIN
  FOR receipt IN
    SELECT given.*
      FROM json_to_recordset(receipts) AS given(
             place integer, workflow_id text, executor_id text, epoch integer, step_id text, name text, topic text,
             timed_out boolean, timeout_serialization text, timeout_output text)
     WHERE given.timed_out
        OR EXISTS (SELECT FROM dbos.messages m
                    WHERE m.workflow_id = given.workflow_id AND m.topic = given.topic AND m.consumed_by IS NULL)
        OR EXISTS (SELECT FROM dbos.steps s WHERE s.workflow_id = given.workflow_id AND s.step_id = given.step_id)
     ORDER BY given.workflow_id COLLATE "C", given.place
  LOOP
    place := receipt.place;
    PERFORM
       FROM dbos.workflows w
      WHERE w.id = receipt.workflow_id AND w.status = 'PENDING' AND w.executor_id = receipt.executor_id
        AND w.epoch = receipt.epoch
        FOR NO KEY UPDATE;
    owned := FOUND;
    IF NOT owned THEN
      serialization := NULL;
      output := NULL;
      RETURN NEXT;
      CONTINUE;
    END IF;

    SELECT s.serialization, s.output INTO received
      FROM dbos.steps s
     WHERE s.workflow_id = receipt.workflow_id AND s.step_id = receipt.step_id;
    IF NOT FOUND THEN
      UPDATE dbos.messages m
         SET consumed_by = receipt.step_id
       WHERE m.workflow_id = receipt.workflow_id
         AND m.seq = (SELECT waiting.seq
                        FROM dbos.messages waiting
                       WHERE waiting.workflow_id = receipt.workflow_id AND waiting.topic = receipt.topic
                         AND waiting.consumed_by IS NULL
                       ORDER BY waiting.seq
                       LIMIT 1)
      RETURNING m.serialization, m.message AS output INTO received;
      IF NOT FOUND THEN
        CONTINUE WHEN NOT receipt.timed_out; -- another branch of the run has taken it
        SELECT receipt.timeout_serialization AS serialization, receipt.timeout_output AS output INTO received;
      END IF;
      INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, started_at)
      VALUES (receipt.workflow_id, receipt.step_id, receipt.name, receipt.epoch, received.serialization,
              received.output, now());
    END IF;
    serialization := received.serialization;
    output := received.output;
    RETURN NEXT;
  END LOOP;
END
$$;

-- What few transitions bring with them. Called in their transaction, once the rows of their runs are locked and the
-- rest is written: the statements here see everything that was committed before the locks were had.
CREATE FUNCTION dbos.write_extras(extras json) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
BEGIN
  -- A run that was parked waits for these topics. A message that came since it last looked sends it on at once.
  UPDATE dbos.workflows w
     SET awaited_topics = CASE WHEN found.message THEN NULL ELSE parked.topics END,
         status = CASE WHEN found.message THEN 'ENQUEUED' ELSE 'DELAYED' END,
         wake_at = CASE WHEN found.message THEN NULL ELSE w.wake_at END
    FROM json_to_recordset(extras->'parked') AS parked(workflow_id text, epoch integer, topics text[])
   CROSS JOIN LATERAL (
           SELECT w.status, w.epoch
             FROM dbos.workflows w
            WHERE w.id = parked.workflow_id
            LIMIT 1) AS standing
   CROSS JOIN LATERAL (
           SELECT EXISTS (SELECT FROM dbos.messages m
                           WHERE m.workflow_id = parked.workflow_id AND m.topic = ANY (parked.topics)
                             AND m.consumed_by IS NULL) AS message) AS found
   WHERE w.id = ANY (ARRAY[parked.workflow_id]) AND standing.epoch = parked.epoch AND standing.status = 'DELAYED';

  -- A run that is tried again receives anew what it had received in the steps that are forgotten.
  UPDATE dbos.messages m
     SET consumed_by = NULL
    FROM json_to_recordset(extras->'retried') AS retried(workflow_id text, epoch integer, retry_from integer)
   CROSS JOIN LATERAL (
           SELECT w.status, w.epoch
             FROM dbos.workflows w
            WHERE w.id = retried.workflow_id
            LIMIT 1) AS standing
   WHERE m.workflow_id = ANY (ARRAY[retried.workflow_id]) AND m.consumed_by IS NOT NULL
     AND split_part(m.consumed_by, '.', 1)::integer >= retried.retry_from
     AND standing.epoch = retried.epoch AND standing.status = 'DELAYED';
END
$$;
