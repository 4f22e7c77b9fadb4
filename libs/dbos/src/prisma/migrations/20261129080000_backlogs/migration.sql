-- How much waits on each of the given queues and since when; of each queue the first `at_most` that are due to be claimed,
-- and as many again of one in partitions. A health check asks often, so nothing is read beyond that.
--
-- What waits was last touched when it began to wait: put there, become due, or come back from a dead executor.
CREATE FUNCTION dbos.queue_backlogs(queue_names text[], at_most integer)
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
                    ORDER BY w.queue, w.priority, w.seq
                    LIMIT at_most) AS first) AS waiting
   CROSS JOIN LATERAL (
           SELECT count(*)::integer AS enqueued, min(first.updated_at) AS oldest
             FROM (SELECT w.updated_at
                     FROM dbos.workflows w
                    WHERE w.status = 'ENQUEUED' AND w.partition_key IS NOT NULL AND w.queue = asked.name COLLATE "C"
                    ORDER BY w.queue, w.partition_key, w.priority, w.seq
                    LIMIT at_most) AS first) AS in_partitions;
END
$$;
