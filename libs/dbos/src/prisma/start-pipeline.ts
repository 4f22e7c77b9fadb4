/** Starts of concurrent callers as one statement. */
import type { NewWorkflow, StartedWorkflow } from '../repository/workflow-repository.js';
import type { Querying } from './database.js';
import { startStatement, type StandingRow } from './start-statements.js';
import { WritePipeline } from './write-pipeline.js';

/** One statement at a time holds this much; the rest leaves with the next. */
export const BATCH = { lanes: 2, maxItems: 500, maxBytes: 4 * 1024 * 1024 } as const;

/** How often a start is asked for again that lost a race against one that cannot be seen yet. */
const MAX_RACES = 20;

export class StartPipeline {
  private readonly pipeline: WritePipeline<NewWorkflow, StartedWorkflow>;

  constructor(private readonly database: Querying) {
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
    const { standing, sent } = await this.send(workflows);
    if (standing.length === 0) return workflows.map(written);
    const byId = new Map(standing.map((row) => [row.asked, row]));
    return Promise.all(
      workflows.map(async (workflow) => {
        const row = byId.get(workflow.id);
        if (!row) return written(workflow);
        const found = whatStands(row) ?? (await this.sendAgain(workflow));
        return sent > 1 && isOurOwn(workflow, found) ? written(workflow) : found;
      }),
    );
  }

  private async send(
    workflows: readonly NewWorkflow[],
  ): Promise<{ readonly standing: StandingRow[]; readonly sent: number }> {
    let sent = 0;
    const statement = startStatement(workflows);
    const standing = await this.database.query<StandingRow>((client) => {
      sent += 1;
      return statement(client);
    });
    return { standing, sent };
  }

  /**
   * A concurrent start elsewhere committed after our snapshot: neither written nor seen. Now it can be seen, or has
   * ended and made room.
   */
  private async sendAgain(workflow: NewWorkflow): Promise<StartedWorkflow> {
    for (let race = 0; race < MAX_RACES; race += 1) {
      const [row] = (await this.send([workflow])).standing;
      const started = row ? whatStands(row) : written(workflow);
      if (started) return started;
    }
    // Deleted each time between two statements; the caller sees a workflow that was there and had ended.
    const { id } = workflow;
    return { id, created: false, name: '', status: 'CANCELLED', executorId: null, epoch: 0 };
  }
}

/** What was written is as it was given. */
function written({ id, name, executorId, delayMs, runAt }: NewWorkflow): StartedWorkflow {
  const waits = delayMs !== undefined || runAt !== undefined ? 'DELAYED' : 'ENQUEUED';
  return executorId === undefined
    ? { id, created: true, name, status: waits, executorId: null, epoch: 0 }
    : { id, created: true, name, status: 'PENDING', executorId, epoch: 1 };
}

/** What stands in the place of a workflow, if it can be seen. */
function whatStands({
  id,
  name,
  status,
  executorId,
  epoch,
}: StandingRow): StartedWorkflow | undefined {
  return id === null ? undefined : { id, created: false, name, status, executorId, epoch };
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
