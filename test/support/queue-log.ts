// What happens to queues, written down by triggers in the order in which it happens: the one witness that sees every
// claim at the moment of its making, whoever makes it and whatever becomes of him.
import type { Ledger } from './ledger.js';

/** Moments are microseconds of the database's clock. */
interface LogEntry {
  /** In the order of writing. What is done under one lock is in the order in which it was done. */
  readonly n: number;
  readonly at: number;
  /** The transaction, and when its statement began: it knows of nothing that was committed later. */
  readonly tx: string;
  readonly begunAt: number;
}

/** A workflow of a queue was written: inserted, moved to another status, given another priority. */
export interface WorkflowChange extends LogEntry {
  readonly kind: 'workflow';
  readonly id: string;
  readonly seq: number;
  readonly queue: string;
  readonly partition: string | null;
  readonly priority: number;
  readonly deduplicationId: string | null;
  /** Its status before; null when it was inserted. */
  readonly from: string | null;
  readonly to: string;
  readonly executorId: string | null;
}

/** The limits of a queue, or whether it is paused, were set. */
export interface QueueChange extends LogEntry {
  readonly kind: 'queue';
  readonly queue: string;
  readonly paused: boolean;
  readonly concurrency: number | null;
  readonly workerConcurrency: number | null;
  readonly rateLimit: number | null;
  readonly ratePeriodMs: number | null;
  readonly partitionConcurrency: number | null;
  readonly partitionRateLimit: number | null;
  readonly partitionRatePeriodMs: number | null;
}

/** Claims were counted against a rate limit. */
export interface RateCount extends LogEntry {
  readonly kind: 'rate';
  readonly queue: string;
  /** Null for what the queue itself counts. */
  readonly partition: string | null;
  readonly claimedAt: number;
  readonly claims: number;
}

export type LoggedChange = WorkflowChange | QueueChange | RateCount;

const INSTALLATION = `
  CREATE TABLE public.test_queue_log (
    n     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    tx    xid8        NOT NULL DEFAULT pg_current_xact_id(),
    begun timestamptz NOT NULL DEFAULT now(),
    what  jsonb       NOT NULL
  );

  CREATE FUNCTION public.test_micros(at timestamptz) RETURNS float8 LANGUAGE sql IMMUTABLE
  RETURN floor(extract(epoch FROM at) * 1000000);

  CREATE FUNCTION public.test_log_workflow() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO public.test_queue_log (what)
    VALUES (jsonb_build_object(
      'kind', 'workflow', 'id', NEW.id, 'seq', NEW.seq, 'queue', NEW.queue, 'partition', NEW.partition_key,
      'priority', NEW.priority, 'deduplicationId', NEW.deduplication_id,
      'from', CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, 'to', NEW.status, 'executorId', NEW.executor_id));
    RETURN NULL;
  END $$;
  CREATE TRIGGER test_log AFTER INSERT OR UPDATE ON dbos.workflows
    FOR EACH ROW WHEN (NEW.queue IS NOT NULL) EXECUTE FUNCTION public.test_log_workflow();

  CREATE FUNCTION public.test_log_queue() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO public.test_queue_log (what)
    VALUES (jsonb_build_object(
      'kind', 'queue', 'queue', NEW.name, 'paused', NEW.paused, 'concurrency', NEW.concurrency,
      'workerConcurrency', NEW.worker_concurrency, 'rateLimit', NEW.rate_limit, 'ratePeriodMs', NEW.rate_period_ms,
      'partitionConcurrency', NEW.partition_concurrency, 'partitionRateLimit', NEW.partition_rate_limit,
      'partitionRatePeriodMs', NEW.partition_rate_period_ms));
    RETURN NULL;
  END $$;
  CREATE TRIGGER test_log AFTER INSERT OR UPDATE ON dbos.queues
    FOR EACH ROW EXECUTE FUNCTION public.test_log_queue();

  CREATE FUNCTION public.test_log_rate() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO public.test_queue_log (what)
    VALUES (jsonb_build_object(
      'kind', 'rate', 'queue', NEW.queue, 'partition', nullif(NEW.partition_key, ''),
      'claimedAt', public.test_micros(NEW.claimed_at), 'claims', NEW.claims));
    RETURN NULL;
  END $$;
  CREATE TRIGGER test_log AFTER INSERT ON dbos.queue_claims
    FOR EACH ROW EXECUTE FUNCTION public.test_log_rate();`;

/** Before anything is put on a queue. */
export async function installQueueLog(ledger: Ledger): Promise<void> {
  await ledger.query(INSTALLATION);
}

export async function readQueueLog(ledger: Ledger): Promise<LoggedChange[]> {
  const rows = await ledger.query<{ entry: LogEntry; what: LoggedChange }>(
    `SELECT jsonb_build_object('n', n, 'at', public.test_micros(at), 'tx', tx::text,
                               'begunAt', public.test_micros(begun)) AS entry,
            what
       FROM public.test_queue_log
      ORDER BY n`,
  );
  return rows.map(({ entry, what }) => ({ ...entry, ...what }));
}

/** The database's clock now, in microseconds. */
export async function databaseMicros(ledger: Ledger): Promise<number> {
  const [row] = await ledger.query<{ now: number }>(
    'SELECT public.test_micros(clock_timestamp()) AS now',
  );
  return row?.now ?? Number.NaN;
}
