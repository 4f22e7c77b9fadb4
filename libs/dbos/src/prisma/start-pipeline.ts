/** Starts of concurrent callers as one statement. */
import type { NewWorkflow, StartedWorkflow } from '../repository/workflow-repository.js';
import type { Database } from './database.js';
import { WritePipeline } from './write-pipeline.js';

/** One statement at a time holds this much; the rest leaves with the next. */
export const BATCH = { lanes: 2, maxItems: 500, maxBytes: 4 * 1024 * 1024 } as const;

type Answer = StartedWorkflow & { readonly id: string };

export class StartPipeline {
  private readonly pipeline: WritePipeline<NewWorkflow, StartedWorkflow>;

  constructor(private readonly database: Database) {
    this.pipeline = new WritePipeline({
      ...BATCH,
      keyOf: ({ id }) => id,
      bytesOf: ({ input }) => input.text.length,
      write: (workflows) => this.write(workflows),
    });
  }

  start(workflow: NewWorkflow): Promise<StartedWorkflow> {
    return this.pipeline.submit(workflow);
  }

  private async write(workflows: NewWorkflow[]): Promise<StartedWorkflow[]> {
    let sent = 0;
    const rows = JSON.stringify(workflows.map((workflow) => columns(workflow)));
    const answers = await this.database.query<Answer>((client) => {
      sent += 1;
      return client.$queryRaw`
        SELECT id, created, name, status, executor_id AS "executorId", epoch
          FROM dbos.start_workflows(${rows}::json)`;
    });
    const byId = new Map(answers.map((answer) => [answer.id, answer]));
    return Promise.all(
      workflows.map((workflow) => this.answerFor(workflow, byId.get(workflow.id), sent > 1)),
    );
  }

  private async answerFor(
    workflow: NewWorkflow,
    answer: Answer | undefined,
    sentAgain: boolean,
  ): Promise<StartedWorkflow> {
    // A concurrent start elsewhere committed after our snapshot: neither created nor seen. Now it can be seen.
    const found = answer ?? (await this.find(workflow.id));
    return { ...found, created: found.created || (sentAgain && isOurOwn(workflow, found)) };
  }

  private async find(id: string): Promise<Answer> {
    const [row] = await this.database.query<Answer>(
      (client) => client.$queryRaw`
        SELECT id, false AS created, name, status, executor_id AS "executorId", epoch
          FROM dbos.workflows
         WHERE id = ${id}`,
    );
    // Deleted between the two statements; the caller sees a workflow that was there and had ended.
    return row ?? { id, created: false, name: '', status: 'CANCELLED', executorId: null, epoch: 0 };
  }
}

/**
 * The statement was sent again and the first sending had been committed without our hearing of it. Only this process
 * writes its executor id, and it starts one id once at a time, so a first-epoch row of ours is this very start.
 */
function isOurOwn(workflow: NewWorkflow, found: StartedWorkflow): boolean {
  return (
    workflow.executorId !== undefined &&
    found.executorId === workflow.executorId &&
    found.epoch === 1 &&
    found.status === 'PENDING'
  );
}

function columns(workflow: NewWorkflow): Record<string, unknown> {
  return {
    id: workflow.id,
    name: workflow.name,
    executor_id: workflow.executorId,
    parent_id: workflow.parentId,
    application_version: workflow.applicationVersion,
    attributes: workflow.attributes,
    serialization: workflow.input.format,
    input: workflow.input.text,
  };
}
