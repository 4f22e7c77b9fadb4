/** What operators ask of workflows: how many, why, with which history; and what is no longer to be kept. */
import { InvalidArgumentError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import {
  exportWorkflow,
  importWorkflows,
  type ExportOptions,
  type ImportOptions,
  type ImportReport,
  type WorkflowArchive,
} from './archive.js';
import { countWorkflows, type CountQuery, type WorkflowCounts } from './counting.js';
import type { Dispatcher } from './dispatcher.js';
import type { Executor } from './executor.js';
import { explainWorkflow, type WorkflowExplanation } from './explanation.js';
import type { OutcomeCodec } from './outcome.js';
import type { RemovedCounts, Retention, RetentionReport } from './retention.js';
import { countSteps, type StepCountQuery, type StepCounts } from './step-counting.js';

export interface InspectionParts {
  readonly repository: CheckpointRepository;
  readonly codec: OutcomeCodec;
  readonly executor: Executor;
  readonly dispatcher: Dispatcher;
  readonly retention: Retention | undefined;
  /** In a workflow a checkpointed operation; elsewhere as patient as callers are. */
  readonly operation: <T>(name: string, work: () => Promise<T>) => Promise<T>;
}

export class Inspection {
  constructor(private readonly parts: InspectionParts) {}

  /** How many workflows there are, by what they have in common. @throws InvalidArgumentError */
  async count(query: CountQuery): Promise<WorkflowCounts> {
    const { repository, operation } = this.parts;
    return operation('workflows.count', () => countWorkflows(repository.listings, query));
  }

  /** How many steps there are, and how long they took. @throws InvalidArgumentError */
  async stepCounts(query: StepCountQuery): Promise<StepCounts> {
    const { repository, operation } = this.parts;
    return operation('workflows.stepCounts', () => countSteps(repository.listings, query));
  }

  /** Why a workflow is where it is. @throws WorkflowNotFoundError */
  async explain(workflowId: string): Promise<WorkflowExplanation> {
    const { repository, codec, executor, operation } = this.parts;
    const id = assertIdentifier('A workflow id', workflowId);
    const activitiesOf = () => executor.runsOf(id).find((run) => !run.interruption)?.activities;
    const parts = { explanations: repository.explanations, codec, activitiesOf };
    return operation('workflows.explain', () => explainWorkflow(parts, id));
  }

  /** A workflow with its history, as JSON. @throws WorkflowNotFoundError, InvalidArgumentError */
  async export(workflowId: string, options: ExportOptions): Promise<WorkflowArchive> {
    const { repository, operation } = this.parts;
    const id = assertIdentifier('A workflow id', workflowId);
    return operation('workflows.export', () => exportWorkflow(repository.archives, id, options));
  }

  /** Takes exported workflows in. Once they are here, a repetition changes nothing. */
  async import(archive: WorkflowArchive, options: ImportOptions): Promise<ImportReport> {
    const { repository, dispatcher, operation } = this.parts;
    return operation('workflows.import', async () => {
      const report = await importWorkflows(repository.archives, archive, options);
      if (report.enqueued.length > 0) dispatcher.stirred();
      return report;
    });
  }

  /** What retention has removed here; undefined when none is configured. */
  get retention(): RetentionReport | undefined {
    return this.parts.retention?.report();
  }

  /** Removes now what is to be removed. @throws InvalidArgumentError when no retention is configured */
  async applyRetention(): Promise<RemovedCounts> {
    const { retention, operation } = this.parts;
    if (!retention) {
      throw new InvalidArgumentError(
        'No retention is configured. Give DbosModule.forRoot({ retention: { maxAge: … } }).',
      );
    }
    return operation('workflows.applyRetention', () => retention.finishSweep());
  }
}
