/**
 * What runs write: checkpoints and settlements of many runs in one fenced statement, so that the last checkpoint of a
 * workflow and its outcome are one commit.
 */
import { RowRefusedError } from '../core/errors.js';
import type { Owner } from '../core/owner.js';
import type { NewStep } from '../repository/step-repository.js';
import type { Settlement } from '../repository/workflow-repository.js';
import type { Database } from './database.js';
import type { PrismaClientLike } from './prisma-client.js';
import { BATCH } from './start-pipeline.js';
import { WritePipeline } from './write-pipeline.js';

type Transition =
  | { readonly owner: Owner; readonly step: NewStep }
  | { readonly owner: Owner; readonly settlement: Settlement };

/** A run that still owned its workflow (`stepId` null), or a step of it that stood there before. */
interface AnswerRow {
  workflowId: string;
  stepId: string | null;
  epoch: number;
}

export class TransitionPipeline {
  private readonly pipeline: WritePipeline<Transition, boolean>;

  constructor(private readonly database: Database) {
    this.pipeline = new WritePipeline({
      ...BATCH,
      keyOf: ({ owner }) => runKey(owner),
      bytesOf: payloadSize,
      write: (transitions) => this.write(transitions),
    });
  }

  /** Whether `owner` still owned the workflow and the step stands as recorded by it. */
  record(owner: Owner, step: NewStep): Promise<boolean> {
    return this.pipeline.submit({ owner, step });
  }

  /** Whether `owner` still owned the workflow and it is settled. */
  settle(owner: Owner, settlement: Settlement): Promise<boolean> {
    return this.pipeline.submit({ owner, settlement });
  }

  private async write(transitions: Transition[]): Promise<boolean[]> {
    const batch = batchOf(transitions);
    let sent = 0;
    const answers = await this.database.query<AnswerRow>((client) => {
      sent += 1;
      return sendBatch(client, batch);
    });
    const owned = new Set(answers.filter(({ stepId }) => stepId === null).map(runKey));
    const standing = answers.filter(({ stepId }) => stepId !== null);
    const foreign = standing.length > 0 ? await this.recordedByOthers(standing) : new Set<string>();
    const lostAnswers = sent > 1 ? await this.settledByUs(transitions, owned) : new Set<string>();
    const contradicted = new Set(standing.map(runKey));
    return transitions.map((transition) => {
      const run = runKey(transition.owner);
      if (lostAnswers.has(run)) return true;
      if (!owned.has(run)) return false;
      return 'step' in transition
        ? !foreign.has(`${run}\n${transition.step.stepId}`)
        : !contradicted.has(run);
    });
  }

  /**
   * Steps that stood there already. Recorded at our epoch, they are our own: the acknowledgement was lost and the
   * statement was sent again. At another epoch they contradict what this run believes.
   */
  private async recordedByOthers(steps: readonly AnswerRow[]): Promise<Set<string>> {
    const asked = JSON.stringify(
      steps.map((s) => ({ workflow_id: s.workflowId, step_id: s.stepId, epoch: s.epoch })),
    );
    const rows = await this.database.query<AnswerRow>(
      (client) => client.$queryRaw`
        SELECT asked.workflow_id AS "workflowId", asked.epoch, asked.step_id AS "stepId"
          FROM jsonb_to_recordset(${asked}::jsonb) AS asked(workflow_id text, step_id text, epoch int)
          JOIN dbos.steps s USING (workflow_id, step_id)
         WHERE s.epoch <> asked.epoch`,
    );
    return new Set(rows.map((row) => `${runKey(row)}\n${row.stepId}`));
  }

  /**
   * Runs that own nothing any more because the first sending of this very statement has settled them. Nobody else
   * settles at their epoch: whoever takes a workflow over raises it.
   */
  private async settledByUs(
    transitions: readonly Transition[],
    owned: ReadonlySet<string>,
  ): Promise<Set<string>> {
    const settled = transitions.flatMap((t) =>
      'settlement' in t && !owned.has(runKey(t.owner))
        ? [{ workflow_id: t.owner.workflowId, epoch: t.owner.epoch, status: t.settlement.status }]
        : [],
    );
    if (settled.length === 0) return new Set();
    const rows = await this.database.query<Pick<AnswerRow, 'workflowId' | 'epoch'>>(
      (client) => client.$queryRaw`
        SELECT w.id AS "workflowId", w.epoch
          FROM jsonb_to_recordset(${JSON.stringify(settled)}::jsonb) AS asked(workflow_id text, epoch int, status text)
          JOIN dbos.workflows w ON w.id = asked.workflow_id AND w.epoch = asked.epoch AND w.status = asked.status`,
    );
    return new Set(rows.map(runKey));
  }
}

/** Tells the runs of one workflow apart: a later one must not vouch for an earlier one. */
function runKey({ workflowId, epoch }: Pick<Owner, 'workflowId' | 'epoch'>): string {
  return `${workflowId}\n${epoch}`;
}

/** The rows of one statement, as JSON. */
interface Batch {
  readonly runs: string;
  readonly steps: string;
  readonly settlements: string;
}

function batchOf(transitions: readonly Transition[]): Batch {
  const steps = transitions.flatMap((t) => ('step' in t ? [stepRow(t.owner, t.step)] : []));
  const settlements = transitions.flatMap((t) =>
    'settlement' in t ? [settlementRow(t.owner, t.settlement)] : [],
  );
  return {
    runs: JSON.stringify(ownersOf(transitions).map(ownerRow)),
    steps: JSON.stringify(steps),
    settlements: JSON.stringify(settlements),
  };
}

/**
 * `owned` is the fence, under a row lock: no take-over comes between the check and the commit. Rows are locked in the
 * order of ids, so that two batches cannot wait for each other.
 *
 * `standing` steps are those that had been recorded before; a run that they contradict is not settled.
 */
function sendBatch(client: PrismaClientLike, batch: Batch): PromiseLike<AnswerRow[]> {
  return client.$queryRaw`
    WITH run AS (
      SELECT * FROM jsonb_to_recordset(${batch.runs}::jsonb) AS run(id text, executor_id text, epoch int)
    ), owned AS (
      SELECT w.id, w.epoch
        FROM dbos.workflows w
        JOIN run ON run.id = w.id
       WHERE w.status = 'PENDING' AND w.executor_id = run.executor_id AND w.epoch = run.epoch
       ORDER BY w.id
         FOR NO KEY UPDATE OF w
    ), step AS (
      SELECT *
        FROM jsonb_to_recordset(${batch.steps}::jsonb) AS step(
               workflow_id text, epoch int, step_id text, name text, serialization text, output text, error text,
               child_workflow_id text, attempts int, duration_ms float8)
    ), recorded AS (
      INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, error,
                              child_workflow_id, attempts, started_at, completed_at)
      SELECT step.workflow_id, step.step_id, step.name, step.epoch, step.serialization, step.output, step.error,
             step.child_workflow_id, step.attempts, now() - step.duration_ms * interval '1 millisecond', now()
        FROM step
        JOIN owned ON owned.id = step.workflow_id AND owned.epoch = step.epoch
          ON CONFLICT (workflow_id, step_id) DO NOTHING
      RETURNING workflow_id, step_id
    ), standing AS (
      SELECT step.workflow_id, step.epoch, step.step_id
        FROM step
        JOIN owned ON owned.id = step.workflow_id AND owned.epoch = step.epoch
       WHERE NOT EXISTS (SELECT FROM recorded
                          WHERE recorded.workflow_id = step.workflow_id AND recorded.step_id = step.step_id)
    ), settlement AS (
      SELECT *
        FROM jsonb_to_recordset(${batch.settlements}::jsonb) AS settlement(
               workflow_id text, epoch int, status text, serialization text, output text, error text,
               wake_at timestamptz)
    ), settled AS (
      UPDATE dbos.workflows w
         SET status = settlement.status,
             outcome_serialization = settlement.serialization,
             output = settlement.output,
             error = settlement.error,
             wake_at = settlement.wake_at,
             executor_id = CASE WHEN settlement.status IN ('DELAYED', 'ENQUEUED') THEN NULL ELSE w.executor_id END,
             completed_at = CASE WHEN settlement.status IN ('DELAYED', 'ENQUEUED', 'SUSPENDED') THEN NULL
                                 ELSE now() END,
             updated_at = now()
        FROM settlement
        JOIN owned ON owned.id = settlement.workflow_id AND owned.epoch = settlement.epoch
       WHERE w.id = settlement.workflow_id
         AND NOT EXISTS (SELECT FROM standing
                          WHERE standing.workflow_id = settlement.workflow_id AND standing.epoch = settlement.epoch)
    )
    SELECT id AS "workflowId", epoch, NULL AS "stepId"
      FROM owned
     UNION ALL
    SELECT workflow_id, epoch, step_id
      FROM standing`;
}

function ownersOf(transitions: readonly Transition[]): Owner[] {
  return [...new Map(transitions.map(({ owner }) => [runKey(owner), owner])).values()];
}

function ownerRow({ workflowId, executorId, epoch }: Owner): Record<string, unknown> {
  return { id: workflowId, executor_id: executorId, epoch };
}

function stepRow({ workflowId, epoch }: Owner, step: NewStep): Record<string, unknown> {
  const value = step.output ?? step.error;
  if (!value) throw new RowRefusedError(`Step "${step.name}" has neither an output nor an error.`);
  return {
    workflow_id: workflowId,
    epoch,
    step_id: step.stepId,
    name: step.name,
    serialization: value.format,
    output: step.output?.text,
    error: step.error?.text,
    child_workflow_id: step.childWorkflowId,
    attempts: step.attempts,
    duration_ms: step.durationMs,
  };
}

function settlementRow(
  { workflowId, epoch }: Owner,
  settlement: Settlement,
): Record<string, unknown> {
  const output = 'output' in settlement ? settlement.output : undefined;
  const error = 'error' in settlement ? settlement.error : undefined;
  return {
    workflow_id: workflowId,
    epoch,
    status: settlement.status,
    serialization: (output ?? error)?.format,
    output: output?.text,
    error: error?.text,
    wake_at: 'wakeAt' in settlement ? settlement.wakeAt : undefined,
  };
}

function payloadSize(transition: Transition): number {
  if ('step' in transition)
    return (transition.step.output ?? transition.step.error)?.text.length ?? 0;
  const { settlement } = transition;
  if ('output' in settlement) return settlement.output.text.length;
  return 'error' in settlement ? settlement.error.text.length : 0;
}
