-- Messages: what others send to a workflow, and what it has received of that. Events: what a workflow tells others.
-- Tokens: who holds one may decide something that a workflow waits for, once.

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

-- One row for each time an event was set; the newest of a key is its value. The others are for forks, which begin before
-- they were set.
CREATE TABLE dbos.events (
  workflow_id   text        COLLATE "C" NOT NULL,
  step_id       text        COLLATE "C" NOT NULL,               -- the step that set it
  epoch         integer     NOT NULL,                           -- of the run that set it
  seq           bigint      GENERATED ALWAYS AS IDENTITY,
  key           text        COLLATE "C" NOT NULL,
  serialization text        NOT NULL,
  value         text        NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT events_pkey PRIMARY KEY (workflow_id, step_id, epoch)
);

-- The value of a key is one probe away, however often it was set.
CREATE INDEX events_key_idx ON dbos.events (workflow_id, key, seq);

-- One row for each token that was given out. A run that is repeated gives out another for the same step: the tokens of a
-- step stand for the one decision that it waits for. A token itself is nowhere in the database: it is looked up by the
-- first half of its SHA-256, and proven by the second.
CREATE TABLE dbos.tokens (
  id          text        COLLATE "C" NOT NULL,
  proof       text        NOT NULL,
  workflow_id text        COLLATE "C" NOT NULL,
  step_id     text        COLLATE "C" NOT NULL,                 -- the step that gave it out
  expires_at  timestamptz,                                      -- null: never
  created_at  timestamptz NOT NULL DEFAULT now(),

  CONSTRAINT tokens_pkey PRIMARY KEY (id)
);
CREATE INDEX tokens_step_idx ON dbos.tokens (workflow_id, step_id);

-- Sends messages. Those that a run sends (`sender_id`) are fenced, and the checkpoint of the sending is part of the same
-- commit; one that has its checkpoint is not sent again. Answers for each, under its place in the list, with the status
-- of the workflow it was sent to (null: there is none), who runs that, whether this woke it, whether the sender owned its
-- own workflow, whether the message is new under its key, and whether the token that it came with has expired: then it
-- is not sent.
--
-- A workflow that is being parked holds its row locked. Either the message is there when the parking looks for it
-- (`write_extras`), or the parking is done when the message comes, and then it wakes the workflow here.
CREATE FUNCTION dbos.send_messages(messages json)
RETURNS TABLE (place integer, status text, executor_id text, name text, queue text, woken boolean, owned boolean,
               is_new boolean, expired boolean)
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
           earlier.message IS NULL AND (
             given.idempotency_key IS NULL
             OR row_number() OVER (PARTITION BY given.workflow_id, given.idempotency_key ORDER BY given.place) = 1
           ) AS is_new,
           (earlier.message IS NULL AND token.expires_at <= clock_timestamp()) IS TRUE AS expired,
           destination.status = 'DELAYED' AND given.topic = ANY (destination.awaited_topics) IS TRUE AS wakes
      FROM json_to_recordset(messages) AS given(
             place integer, workflow_id text, topic text, idempotency_key text, serialization text, message text,
             token_id text, sender_id text, executor_id text, epoch integer, step_id text, step_name text,
             step_serialization text, step_output text)
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
      LEFT JOIN LATERAL (
             SELECT true AS message
               FROM dbos.messages m
              WHERE m.workflow_id = given.workflow_id AND m.idempotency_key = given.idempotency_key
              LIMIT 1) AS earlier ON true
      LEFT JOIN LATERAL (
             SELECT t.expires_at
               FROM dbos.tokens t
              WHERE t.id = given.token_id
              LIMIT 1) AS token ON true
  ), sendable AS MATERIALIZED (
    SELECT given.*
      FROM given
     WHERE given.status IS NOT NULL AND given.owned AND NOT given.expired
       AND (SELECT true FROM dbos.steps s
             WHERE s.workflow_id = given.sender_id AND s.step_id = given.step_id LIMIT 1) IS NULL
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
  SELECT given.place, given.status, given.runs_on, given.destination_name, given.queue, given.wakes, given.owned,
         given.is_new, given.expired
    FROM given;
END
$$;

-- Receives the oldest message of a topic for each run that owns its workflow and for which there is one: the message is
-- consumed, and the checkpoint of the receiving is part of the same commit. Where nothing has come and the time is up,
-- the given output is recorded instead, and the tokens of the given step expire with it. Without a row for its place a run has received nothing and goes on waiting; what
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
             timed_out boolean, timeout_serialization text, timeout_output text, token_step_id text)
     WHERE coalesce( -- one probe each: for EXISTS all that is there might be put into a hash table
             given.timed_out OR NULL,
             (SELECT true FROM dbos.messages m
               WHERE m.workflow_id = given.workflow_id AND m.topic = given.topic AND m.consumed_by IS NULL LIMIT 1),
             (SELECT true FROM dbos.steps s
               WHERE s.workflow_id = given.workflow_id AND s.step_id = given.step_id LIMIT 1))
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
        UPDATE dbos.tokens t
           SET expires_at = least(t.expires_at, clock_timestamp())
         WHERE t.workflow_id = receipt.workflow_id AND t.step_id = receipt.token_step_id;
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

-- The values of events, each under its place in the list; null where it was not set. `is_over` where its workflow has come
-- to its end, so that it will not be set any more.
CREATE FUNCTION dbos.latest_events(events json)
RETURNS TABLE (place integer, is_over boolean, serialization text, value text)
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT given.place, coalesce(standing.is_over, false), latest.serialization, latest.value
    FROM json_to_recordset(events) AS given(place integer, workflow_id text, key text)
    LEFT JOIN LATERAL (
           SELECT e.serialization, e.value
             FROM dbos.events e
            WHERE e.workflow_id = given.workflow_id AND e.key = given.key
            ORDER BY e.seq DESC
            LIMIT 1) AS latest ON true
    LEFT JOIN LATERAL (
           SELECT w.status IN ('SUCCESS', 'ERROR') AS is_over
             FROM dbos.workflows w
            WHERE w.id = given.workflow_id
            LIMIT 1) AS standing ON true;
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
  -- Events are set by the steps that were recorded just now, or by an earlier sending of them, which has set these as well.
  INSERT INTO dbos.events (workflow_id, step_id, epoch, key, serialization, value)
  SELECT given.workflow_id, given.step_id, given.epoch, given.key, given.serialization, given.value
    FROM json_to_recordset(extras->'events') AS given(
           place integer, workflow_id text, step_id text, epoch integer, key text, serialization text, value text)
   CROSS JOIN LATERAL (
           SELECT s.epoch
             FROM dbos.steps s
            WHERE s.workflow_id = given.workflow_id AND s.step_id = given.step_id
            LIMIT 1) AS step
   WHERE step.epoch = given.epoch
   ORDER BY given.place
      ON CONFLICT DO NOTHING;

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
           SELECT (SELECT true FROM dbos.messages m
                    WHERE m.workflow_id = parked.workflow_id AND m.topic = ANY (parked.topics)
                      AND m.consumed_by IS NULL
                    LIMIT 1) AS message) AS found
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

-- Gives out a token for a run that owns its workflow; with its step the first time, without on a replay. Says whether the
-- run does own it.
CREATE FUNCTION dbos.create_token(token json, step json) RETURNS TABLE (owned boolean)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
BEGIN
  PERFORM
     FROM dbos.workflows w
    WHERE w.id = token->>'workflow_id' AND w.status = 'PENDING' AND w.executor_id = token->>'executor_id'
      AND w.epoch = (token->>'epoch')::integer
      FOR NO KEY UPDATE;
  owned := FOUND;
  RETURN NEXT;
  IF NOT owned THEN
    RETURN;
  END IF;

  INSERT INTO dbos.tokens (id, proof, workflow_id, step_id, expires_at)
  VALUES (token->>'id', token->>'proof', token->>'workflow_id', token->>'step_id', (token->>'expires_at')::timestamptz)
      ON CONFLICT DO NOTHING;
  IF step IS NOT NULL THEN
    INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, started_at)
    VALUES (token->>'workflow_id', token->>'step_id', step->>'name', (token->>'epoch')::integer,
            step->>'serialization', step->>'output', now())
        ON CONFLICT DO NOTHING;
  END IF;
END
$$;
