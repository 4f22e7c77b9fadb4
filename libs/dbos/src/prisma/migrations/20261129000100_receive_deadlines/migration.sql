-- The deadline of a receiving is recorded by the very look that finds nothing, instead of by a statement that follows it
-- and would keep whoever sends the message waiting for the row of the workflow.

-- Receives the oldest message of a topic for each run that owns its workflow and for which there is one: the message is
-- consumed, and the checkpoint of the receiving is part of the same commit. Where nothing has come and the time is up,
-- the given output is recorded instead, and the tokens of the given step expire with it. Without a row for its place a
-- run has received nothing and goes on waiting, from a first look on with its deadline recorded, where it gives one;
-- what its step has recorded before is given back.
--
-- Whoever gives no deadline gets what he got before.
CREATE OR REPLACE FUNCTION dbos.receive_messages(receipts json)
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
             timed_out boolean, timeout_serialization text, timeout_output text, token_step_id text,
             deadline_step_id text, deadline_name text, deadline_serialization text, deadline_output text)
     WHERE coalesce( -- one probe each: for EXISTS all that is there might be put into a hash table
             given.timed_out OR NULL,
             given.deadline_step_id IS NOT NULL OR NULL,
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
      IF NOT FOUND AND NOT receipt.timed_out THEN -- or another branch of the run has taken it
        IF receipt.deadline_step_id IS NOT NULL THEN
          INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, started_at)
          VALUES (receipt.workflow_id, receipt.deadline_step_id, receipt.deadline_name, receipt.epoch,
                  receipt.deadline_serialization, receipt.deadline_output, now())
              ON CONFLICT DO NOTHING; -- by an earlier sending of this very look
        END IF;
        CONTINUE;
      END IF;
      IF NOT FOUND THEN
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
