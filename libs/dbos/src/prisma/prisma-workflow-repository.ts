/**
 * Workflows in PostgreSQL: starts and settlements through the write pipelines, the rest one statement each.
 *
 * What is asked for by id is looked up by id, one row at a time: `CROSS JOIN LATERAL (… LIMIT 1)`, and for updates
 * `= ANY (ARRAY[…])`. A plain join leaves the planner the choice to read the table, or all that is in some status,
 * whenever its statistics lag behind.
 */
import type { Owner } from '../core/owner.js';
import type {
  NewWorkflow,
  Settlement,
  StartedWorkflow,
  StrandedWorkflows,
  UnfinishedCounts,
  WorkflowOutcome,
  WorkflowRecord,
  WorkflowRepository,
  WorkflowState,
} from '../repository/workflow-repository.js';
import type { CancelReason } from '../core/errors.js';
import { isTerminal, type WorkflowStatus } from '../core/status.js';
import type { Database } from './database.js';
import { encoded } from './rows.js';
import type { StartPipeline } from './start-pipeline.js';
import type { TransitionPipeline } from './transition-pipeline.js';

interface WorkflowRow {
  id: string;
  name: string;
  status: WorkflowStatus;
  executorId: string | null;
  epoch: number;
  recoveryAttempts: number;
  failures: number;
  queue: string | null;
  priority: number;
  partitionKey: string | null;
  deduplicationId: string | null;
  parentId: string | null;
  applicationVersion: string | null;
  attributes: Record<string, unknown> | null;
  serialization: string;
  outcomeSerialization: string | null;
  input: string;
  output: string | null;
  error: string | null;
  wakeAt: Date | null;
  timeoutMs: number | null;
  deadline: Date | null;
  cancelReason: CancelReason | null;
  forkedFrom: string | null;
  createdAt: Date;
  startedAt: Date | null;
  completedAt: Date | null;
  updatedAt: Date;
}

/** Rows that one statement moves at most: bounds its locks and its time. */
const BATCH_SIZE = 1_000;

/** Nobody waits for an exact count of a million; a probe that made one would fail for its own slowness. */
const COUNT_LIMIT = 10_000;

/** Unfinished, or given up: what reports count. */
const COUNTED: readonly WorkflowStatus[] = [
  'PENDING',
  'ENQUEUED',
  'DELAYED',
  'SUSPENDED',
  'MAX_RECOVERY_ATTEMPTS_EXCEEDED',
];

export class PrismaWorkflowRepository implements WorkflowRepository {
  constructor(
    private readonly database: Database,
    private readonly starts: StartPipeline,
    private readonly transitions: TransitionPipeline,
  ) {}

  start(workflow: NewWorkflow): Promise<StartedWorkflow> {
    return this.starts.start(workflow);
  }

  settle(owner: Owner, settlement: Settlement): Promise<boolean> {
    return this.transitions.settle(owner, settlement);
  }

  startMany(workflows: readonly NewWorkflow[]): Promise<StartedWorkflow[]> {
    return this.starts.write(workflows);
  }

  async find(id: string): Promise<WorkflowRecord | undefined> {
    const [row] = await this.database.query<WorkflowRow>(
      (client) => client.$queryRaw`
        SELECT id, name, status, executor_id AS "executorId", epoch, recovery_attempts AS "recoveryAttempts",
               failures, queue, priority, partition_key AS "partitionKey", deduplication_id AS "deduplicationId",
               parent_id AS "parentId", application_version AS "applicationVersion", attributes,
               serialization, outcome_serialization AS "outcomeSerialization", input, output, error,
               wake_at AS "wakeAt", timeout_ms AS "timeoutMs", deadline, cancel_reason AS "cancelReason",
               forked_from AS "forkedFrom", created_at AS "createdAt", started_at AS "startedAt",
               completed_at AS "completedAt", updated_at AS "updatedAt"
          FROM dbos.workflows
         WHERE id = ${id}`,
    );
    return row && workflowRecord(row);
  }

  async states(ids: readonly string[]): Promise<WorkflowState[]> {
    const rows = await this.database.query<Omit<WorkflowRow, 'input' | 'output'>>(
      (client) => client.$queryRaw`
        SELECT w.id, w.name, w.status, w.executor_id AS "executorId", w.epoch,
               w.recovery_attempts AS "recoveryAttempts", w.failures, w.queue, w.priority,
               w.partition_key AS "partitionKey", w.deduplication_id AS "deduplicationId",
               w.parent_id AS "parentId", w.application_version AS "applicationVersion", w.attributes,
               w.outcome_serialization AS "outcomeSerialization", w.error, w.wake_at AS "wakeAt",
               w.timeout_ms AS "timeoutMs", w.deadline, w.cancel_reason AS "cancelReason",
               w.forked_from AS "forkedFrom", w.created_at AS "createdAt", w.started_at AS "startedAt", w.completed_at AS "completedAt",
               w.updated_at AS "updatedAt"
          FROM unnest(${[...ids]}::text[]) AS asked(id)
         CROSS JOIN LATERAL (
                 SELECT * FROM dbos.workflows found WHERE found.id = asked.id LIMIT 1) AS w`,
    );
    return rows.map(({ outcomeSerialization, error, ...state }) => ({
      ...state,
      error: encoded(error, outcomeSerialization),
    }));
  }

  async outcomes(ids: readonly string[]): Promise<{ ended: WorkflowOutcome[]; missing: string[] }> {
    type Row = Pick<
      WorkflowRow,
      'id' | 'status' | 'output' | 'error' | 'outcomeSerialization' | 'cancelReason'
    >;
    // Payloads only of what has ended: the others are asked for again and again.
    const rows = await this.database.query<Row>(
      (client) => client.$queryRaw`
        SELECT found.*
          FROM unnest(${[...ids]}::text[]) AS asked(id)
         CROSS JOIN LATERAL (
                 SELECT w.id, w.status, w.outcome_serialization AS "outcomeSerialization",
                        w.cancel_reason AS "cancelReason",
                        CASE WHEN w.completed_at IS NOT NULL THEN w.output END AS output,
                        CASE WHEN w.completed_at IS NOT NULL THEN w.error END AS error
                   FROM dbos.workflows w
                  WHERE w.id = asked.id
                  LIMIT 1) AS found`,
    );
    const ended: WorkflowOutcome[] = [];
    const present = new Set<string>();
    for (const { id, status, output, error, outcomeSerialization: format, cancelReason } of rows) {
      present.add(id);
      if (!isTerminal(status)) continue;
      const [value, failure] = [encoded(output, format), encoded(error, format)];
      ended.push({ id, status, output: value, error: failure, cancelReason });
    }
    return { ended, missing: ids.filter((id) => !present.has(id)) };
  }

  async resumeSuspended(names: readonly string[], version?: string): Promise<string[]> {
    const resumed: string[] = [];
    for (;;) {
      const batch = await this.database.query<{ id: string }>(
        (client) => client.$queryRaw`
          SELECT id FROM dbos.resume_suspended(${[...names]}::text[], ${BATCH_SIZE}::integer,
                                               ${version ?? null}::text)`,
      );
      resumed.push(...batch.map(({ id }) => id));
      if (batch.length < BATCH_SIZE) return resumed;
    }
  }

  async countUnfinished(
    names: readonly string[],
    atMost: number = COUNT_LIMIT,
  ): Promise<UnfinishedCounts> {
    interface Row {
      name: string;
      status: WorkflowStatus;
      version: string | null;
      isRunnable: boolean;
      count: number;
      oldest: Date;
    }
    const rows = await this.database.query<Row>(
      (client) => client.$queryRaw`
        SELECT name, status, version, is_runnable AS "isRunnable", workflows AS count, oldest
          FROM dbos.count_unfinished(${COUNTED}::text[], ${atMost}::integer)`,
    );
    const count = (status: WorkflowStatus): number =>
      rows.reduce((sum, row) => (row.status === status ? sum + row.count : sum), 0);
    const unfinished = rows.filter(({ status }) => !isTerminal(status));
    const oldest = Math.min(...unfinished.map((row) => row.oldest.getTime()));
    return {
      pending: count('PENDING'),
      enqueued: count('ENQUEUED'),
      delayed: count('DELAYED'),
      suspended: count('SUSPENDED'),
      deadLettered: count('MAX_RECOVERY_ATTEMPTS_EXCEEDED'),
      oldestUnfinishedAt: Number.isFinite(oldest) ? new Date(oldest) : null,
      stranded: rows.flatMap(({ name, status, version, isRunnable, count: stranded }) => {
        const reason = strandedBecause(status, { isRunnable, isKnown: names.includes(name) });
        return reason ? [{ name, version, count: stranded, reason }] : [];
      }),
    };
  }
}

function workflowRecord(row: WorkflowRow): WorkflowRecord {
  const { serialization, outcomeSerialization, input, output, error, ...rest } = row;
  return {
    ...rest,
    input: { text: input, format: serialization },
    output: encoded(output, outcomeSerialization),
    error: encoded(error, outcomeSerialization),
  };
}

function strandedBecause(
  status: WorkflowStatus,
  { isRunnable, isKnown }: { readonly isRunnable: boolean; readonly isKnown: boolean },
): StrandedWorkflows['reason'] | undefined {
  if (status === 'SUSPENDED') return 'the code does not match the history';
  const waits = status === 'ENQUEUED' || status === 'DELAYED';
  if (waits && !isRunnable) return 'no live executor may run its version';
  return waits && !isKnown ? 'no workflow of this name is registered here' : undefined;
}
