/** Starts of concurrent callers as one statement. */
import type { NewWorkflow, StartedWorkflow } from '../repository/workflow-repository.js';
import type { Database } from './database.js';
import { WritePipeline } from './write-pipeline.js';

/** One statement at a time holds this much; the rest leaves with the next. */
export const BATCH = { lanes: 2, maxItems: 500, maxBytes: 4 * 1024 * 1024 } as const;

/** How often a start is asked for again that lost a race against one that cannot be seen yet. */
const MAX_RACES = 20;

type Answer = StartedWorkflow & { readonly asked: string };

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

  /** All or none, in one statement. */
  async write(workflows: readonly NewWorkflow[]): Promise<StartedWorkflow[]> {
    const { answers, sent } = await this.send(workflows);
    const byId = new Map(answers.map((answer) => [answer.asked, answer]));
    return Promise.all(
      workflows.map(async (workflow) => {
        const found = byId.get(workflow.id) ?? (await this.sendAgain(workflow));
        return { ...found, created: found.created || (sent > 1 && isOurOwn(workflow, found)) };
      }),
    );
  }

  private async send(
    workflows: readonly NewWorkflow[],
  ): Promise<{ readonly answers: Answer[]; readonly sent: number }> {
    let sent = 0;
    const rows = JSON.stringify(workflows.map(workflowColumns));
    const answers = await this.database.query<Answer>((client) => {
      sent += 1;
      return client.$queryRaw`
        SELECT asked, id, created, name, status, executor_id AS "executorId", epoch
          FROM dbos.start_workflows(${rows}::json)`;
    });
    return { answers, sent };
  }

  /**
   * A concurrent start elsewhere committed after our snapshot: neither created nor seen. Now it can be seen, or has
   * ended and made room.
   */
  private async sendAgain(workflow: NewWorkflow): Promise<StartedWorkflow> {
    for (let race = 0; race < MAX_RACES; race += 1) {
      const { answers } = await this.send([workflow]);
      if (answers[0]) return answers[0];
    }
    // Deleted each time between two statements; the caller sees a workflow that was there and had ended.
    const { id } = workflow;
    return { id, created: false, name: '', status: 'CANCELLED', executorId: null, epoch: 0 };
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

/** The row of a new workflow, as the functions of the database take it. */
export function workflowColumns(workflow: NewWorkflow): Record<string, unknown> {
  return {
    id: workflow.id,
    name: workflow.name,
    executor_id: workflow.executorId,
    parent_id: workflow.parentId,
    application_version: workflow.applicationVersion,
    attributes: workflow.attributes,
    serialization: workflow.input.format,
    input: workflow.input.text,
    queue: workflow.queue,
    priority: workflow.priority,
    partition_key: workflow.partitionKey,
    deduplication_id: workflow.deduplicationId,
    delay_ms: workflow.delayMs,
    run_at: workflow.runAt,
  };
}
