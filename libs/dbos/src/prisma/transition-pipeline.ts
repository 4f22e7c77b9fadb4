/**
 * What runs write: checkpoints and settlements of many runs in one fenced statement, so that the last checkpoint of a
 * workflow and its outcome are one commit.
 */
import { RowRefusedError } from '../core/errors.js';
import type { Owner } from '../core/owner.js';
import type { NewEvent, NewStep } from '../repository/step-repository.js';
import type { Settlement } from '../repository/workflow-repository.js';
import type { Database } from './database.js';
import type { PrismaStatements } from './prisma-client.js';
import { BATCH } from './start-pipeline.js';
import { WritePipeline } from './write-pipeline.js';

type Transition =
  | { readonly owner: Owner; readonly step: NewStep }
  | { readonly owner: Owner; readonly settlement: Settlement };

/** A run that did not own its workflow any more (`stepId` null), or a step that another run has recorded in its place. */
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
    if (answers.length === 0) return transitions.map(() => true); // as nearly always
    const lost = new Set(answers.filter(({ stepId }) => stepId === null).map(runKey));
    const contradicted = new Set(
      answers.map(({ workflowId, epoch }) => runKey({ workflowId, epoch })),
    );
    const foreign = new Set(answers.map((step) => `${runKey(step)}\n${step.stepId}`));
    const lostAnswers = sent > 1 ? await this.settledByUs(transitions, lost) : new Set<string>();
    return transitions.map((transition) => {
      const run = runKey(transition.owner);
      if (lostAnswers.has(run)) return true;
      if (lost.has(run)) return false;
      return 'step' in transition
        ? !foreign.has(`${run}\n${transition.step.stepId}`)
        : !contradicted.has(run);
    });
  }

  /**
   * Runs that own nothing any more because the first sending of this very statement has settled them. Nobody else
   * settles at their epoch: whoever takes a workflow over raises it.
   */
  private async settledByUs(
    transitions: readonly Transition[],
    lost: ReadonlySet<string>,
  ): Promise<Set<string>> {
    const settled = transitions.flatMap((t) =>
      'settlement' in t && lost.has(runKey(t.owner))
        ? [{ workflow_id: t.owner.workflowId, epoch: t.owner.epoch, status: t.settlement.status }]
        : [],
    );
    if (settled.length === 0) return new Set();
    const rows = await this.database.query<Pick<AnswerRow, 'workflowId' | 'epoch'>>(
      (client) => client.$queryRaw`
        SELECT asked.workflow_id AS "workflowId", asked.epoch
          FROM jsonb_to_recordset(${JSON.stringify(settled)}::jsonb) AS asked(workflow_id text, epoch int, status text)
         CROSS JOIN LATERAL ( -- by the primary key
                 SELECT w.epoch, w.status FROM dbos.workflows w WHERE w.id = asked.workflow_id LIMIT 1) AS standing
         WHERE standing.epoch = asked.epoch AND standing.status = asked.status`,
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
  /** What few transitions bring with them. */
  readonly extras: string | null;
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
    extras: extrasOf(transitions),
  };
}

/** Events; topics that parked runs wait for; from where on messages of runs that are tried again come anew. */
function extrasOf(transitions: readonly Transition[]): string | null {
  const events: unknown[] = [];
  const parked: unknown[] = [];
  const retried: unknown[] = [];
  for (const { owner, ...transition } of transitions) {
    const run = { workflow_id: owner.workflowId, epoch: owner.epoch };
    if ('step' in transition) {
      const { stepId, event } = transition.step;
      if (event) events.push({ ...run, place: events.length, ...eventRow(stepId, event) });
    } else if (transition.settlement.status === 'DELAYED') {
      const { settlement } = transition;
      if ('retryFrom' in settlement) retried.push({ ...run, retry_from: settlement.retryFrom });
      else if (settlement.topics) parked.push({ ...run, topics: settlement.topics });
    }
  }
  const extras = { events, parked, retried };
  return Object.values(extras).some((rows) => rows.length > 0) ? JSON.stringify(extras) : null;
}

function eventRow(stepId: string, { key, value }: NewEvent): Record<string, unknown> {
  return { step_id: stepId, key, serialization: value.format, value: value.text };
}

/** Fenced: writes for those runs only that still own their workflows (see the function in the migrations). */
function sendBatch(client: PrismaStatements, batch: Batch): PromiseLike<AnswerRow[]> {
  return client.$queryRaw`
    SELECT workflow_id AS "workflowId", epoch, step_id AS "stepId"
      FROM dbos.write_transitions(${batch.runs}::json, ${batch.steps}::json, ${batch.settlements}::json,
                                  ${batch.extras}::json)`;
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
    retry_from: 'retryFrom' in settlement ? settlement.retryFrom : undefined,
  };
}

function payloadSize(transition: Transition): number {
  if ('step' in transition) {
    const { output, error, event } = transition.step;
    return ((output ?? error)?.text.length ?? 0) + (event?.value.text.length ?? 0);
  }
  const { settlement } = transition;
  if ('output' in settlement) return settlement.output.text.length;
  return 'error' in settlement ? settlement.error.text.length : 0;
}
