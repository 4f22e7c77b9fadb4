/**
 * What runs write: checkpoints and settlements of many runs in one fenced statement, so that the last checkpoint of a
 * workflow and its outcome are one commit.
 */
import type { Owner } from '../core/owner.js';
import type { NewStep } from '../repository/step-repository.js';
import type { Settlement } from '../repository/workflow-repository.js';
import type { Database } from './database.js';
import { loneTransition } from './lone-transition.js';
import { BATCH } from './start-pipeline.js';
import { runKey, type AnswerRow, type Transition } from './transition.js';
import { transitionBatch } from './transition-batch.js';
import { WritePipeline } from './write-pipeline.js';

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
    const statement = loneTransition(transitions) ?? transitionBatch(transitions);
    let sent = 0;
    const answers = await this.database.query<AnswerRow>((client) => {
      sent += 1;
      return statement(client);
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

function payloadSize(transition: Transition): number {
  if ('step' in transition) {
    const { output, error, event } = transition.step;
    return ((output ?? error)?.text.length ?? 0) + (event?.value.text.length ?? 0);
  }
  const { settlement } = transition;
  if ('output' in settlement) return settlement.output.text.length;
  return 'error' in settlement ? settlement.error.text.length : 0;
}
