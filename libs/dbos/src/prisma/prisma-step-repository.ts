/** Checkpoints in PostgreSQL: written through the transition pipeline, read whole. */
import type { Owner } from '../core/owner.js';
import type {
  NewStep,
  StepPage,
  StepRecord,
  StepRepository,
} from '../repository/step-repository.js';
import type { Database } from './database.js';
import { encoded } from './rows.js';
import type { TransitionPipeline } from './transition-pipeline.js';

interface StepRow {
  workflowId: string;
  stepId: string;
  name: string;
  epoch: number;
  serialization: string;
  output: string | null;
  error: string | null;
  childWorkflowId: string | null;
  attempts: number;
  startedAt: Date;
  completedAt: Date;
}

export class PrismaStepRepository implements StepRepository {
  constructor(
    private readonly database: Database,
    private readonly transitions: TransitionPipeline,
  ) {}

  record(owner: Owner, step: NewStep): Promise<boolean> {
    return this.transitions.record(owner, step);
  }

  async history(workflowIds: readonly string[]): Promise<StepRecord[]> {
    const rows = await this.database.query<StepRow>(
      (client) => client.$queryRaw`
        SELECT workflow_id AS "workflowId", step_id AS "stepId", name, epoch, serialization, output, error,
               child_workflow_id AS "childWorkflowId", attempts, started_at AS "startedAt",
               completed_at AS "completedAt"
          FROM dbos.step_histories(${[...workflowIds]}::text[])`,
    );
    return rows.map(stepRecord);
  }

  async list(workflowId: string, { limit, after }: StepPage = {}): Promise<StepRecord[]> {
    const rows = await this.database.query<StepRow>(
      (client) => client.$queryRaw`
        SELECT workflow_id AS "workflowId", step_id AS "stepId", name, epoch, serialization, output, error,
               child_workflow_id AS "childWorkflowId", attempts, started_at AS "startedAt",
               completed_at AS "completedAt"
          FROM dbos.steps
         WHERE workflow_id = ${workflowId}
           AND (${after ?? null}::text IS NULL
                OR string_to_array(step_id, '.')::int[] > string_to_array(${after ?? null}::text, '.')::int[])
         ORDER BY string_to_array(step_id, '.')::int[]
         LIMIT ${limit ?? null}::integer`,
    );
    return rows.map(stepRecord);
  }
}

function stepRecord({ serialization, output, error, ...rest }: StepRow): StepRecord {
  return { ...rest, output: encoded(output, serialization), error: encoded(error, serialization) };
}
