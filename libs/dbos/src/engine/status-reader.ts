/** Follows the status of one workflow: what stands now, then each change, to its end. */
import { WorkflowNotFoundError } from '../core/errors.js';
import { isTerminal } from '../core/status.js';
import type { WorkflowRepository } from '../repository/workflow-repository.js';
import { LiveReader, type Taken, type Wait } from './live-reader.js';
import type { OutcomeCodec } from './outcome.js';
import type { RunScopes } from './run-scope.js';
import { statusReport, type WorkflowStatusReport } from './status-report.js';
import type { Watch } from './watch.js';

/** Asks for a report that differs from the last one. */
interface Question {
  readonly workflowId: string;
  readonly last: string | undefined;
}

export type StatusWatch = Watch<Question, WorkflowStatusReport>;

/** One statement for all who wait. */
export async function readStatuses(
  workflows: WorkflowRepository,
  codec: OutcomeCodec,
  questions: readonly Question[],
): Promise<Array<WorkflowStatusReport | Error | undefined>> {
  const ids = new Set(questions.map(({ workflowId }) => workflowId));
  const states = new Map((await workflows.states([...ids])).map((state) => [state.id, state]));
  return questions.map(({ workflowId, last }) => {
    const state = states.get(workflowId);
    if (!state) return new WorkflowNotFoundError(workflowId);
    const report = statusReport(state, codec);
    return fingerprint(report) === last ? undefined : report;
  });
}

export class StatusReader extends LiveReader<
  WorkflowStatusReport,
  WorkflowStatusReport,
  Question,
  WorkflowStatusReport
> {
  protected readonly operation = 'handle.status$';
  private last: string | undefined;

  constructor(
    watch: StatusWatch,
    scopes: RunScopes,
    private readonly workflowId: string,
  ) {
    super(watch, scopes);
  }

  protected async take(
    wait: Wait<Question, WorkflowStatusReport>,
  ): Promise<Taken<WorkflowStatusReport>> {
    const { workflowId, last } = this;
    const report = this.isOver ? undefined : await wait({ workflowId, last });
    return report ?? { end: true };
  }

  protected pass(report: WorkflowStatusReport): WorkflowStatusReport {
    this.last = fingerprint(report);
    if (isTerminal(report.status)) this.isOver = true;
    return report;
  }
}

function fingerprint(report: WorkflowStatusReport): string {
  return JSON.stringify(report);
}
