/** Control of workflows in PostgreSQL: each a function of the migrations, with its record in the same commit. */
import type {
  ActionRecord,
  Asked,
  ControlRepository,
  EndedWorkflow,
  Expiry,
  Family,
  Forking,
  NewFork,
  Place,
  VersionFilter,
} from '../repository/control-repository.js';
import type { Database } from './database.js';

/** Most workflows that one statement moves; bounds its locks. */
const BATCH_SIZE = 10_000;

interface ExpiryRow {
  id: string | null;
  epoch: number;
  nextInMs: number | null;
}

interface ForkRow {
  place: number;
  result: Forking['result'];
  name: string;
  originName: string;
}

export class PrismaControlRepository implements ControlRepository {
  constructor(private readonly database: Database) {}

  async cancel(ids: readonly string[], { children, by }: Family): Promise<EndedWorkflow[]> {
    return throughTheFamily(ids, children, (roots) =>
      this.database.query<EndedWorkflow>(
        (client) => client.$queryRaw`
          SELECT id, epoch FROM dbos.cancel_workflows(${roots}::text[], ${children}::boolean, ${by}::text)`,
      ),
    );
  }

  async expire(atMost: number): Promise<Expiry> {
    const rows = await this.database.query<ExpiryRow>(
      (client) => client.$queryRaw`
        SELECT id, epoch, next_in_ms AS "nextInMs" FROM dbos.expire_workflows(${atMost}::integer)`,
    );
    const rest = rows.find(({ id }) => id === null);
    return {
      expired: rows.flatMap(({ id, epoch }) => (id === null ? [] : [{ id, epoch }])),
      nextInMs: rest?.nextInMs ?? null,
    };
  }

  async resume(ids: readonly string[], place: Place | undefined, { by }: Asked): Promise<string[]> {
    const placement = place ? JSON.stringify(placeColumns(place)) : null;
    const rows = await this.database.query<{ id: string }>(
      (client) => client.$queryRaw`
        SELECT id FROM dbos.resume_workflows(${[...ids]}::text[], ${placement}::json, ${by}::text)`,
    );
    return rows.map(({ id }) => id);
  }

  async fork(forks: readonly NewFork[]): Promise<Forking[]> {
    const given = JSON.stringify(forks.map(forkColumns));
    const rows = await this.database.query<ForkRow>(
      (client) => client.$queryRaw`
        SELECT place, result, name, origin_name AS "originName" FROM dbos.fork_workflows(${given}::json)`,
    );
    return rows
      .toSorted((one, other) => one.place - other.place)
      .map(({ result, name, originName }): Forking => {
        if (result === 'taken') return { result, name, originName };
        return result === 'forked' ? { result, name } : { result };
      });
  }

  async delete(ids: readonly string[], { children, by }: Family): Promise<EndedWorkflow[]> {
    return throughTheFamily(ids, children, (roots) =>
      this.database.query<EndedWorkflow>(
        (client) => client.$queryRaw`
          SELECT id, epoch FROM dbos.delete_workflows(${roots}::text[], ${children}::boolean, ${by}::text)`,
      ),
    );
  }

  async setVersion(
    target: readonly string[] | VersionFilter,
    version: string,
    { by }: Asked,
  ): Promise<string[]> {
    if ('applicationVersion' in target) return this.moveVersion(target, version, by);
    const ids = target;
    const rows = await this.database.query<{ id: string }>(
      (client) => client.$queryRaw`
        SELECT id FROM dbos.move_to_version(${[...ids]}::text[], ${version}::text, ${by}::text)`,
    );
    return rows.map(({ id }) => id);
  }

  /** Batch by batch; what was moved is not found again, nor is what an owner has taken meanwhile. */
  private async moveVersion(
    { applicationVersion, name }: VersionFilter,
    version: string,
    by: string | null,
  ): Promise<string[]> {
    const moved: string[] = [];
    for (;;) {
      const batch = await this.database.query<{ id: string }>(
        (client) => client.$queryRaw`
          SELECT id FROM dbos.move_version(${applicationVersion}::text, ${name ?? null}::text, ${version}::text, ${by}::text,
                                           ${BATCH_SIZE}::integer)`,
      );
      moved.push(...batch.map(({ id }) => id));
      if (batch.length < BATCH_SIZE) return moved;
    }
  }

  actions(id: string, atMost: number): Promise<ActionRecord[]> {
    return this.database.query<ActionRecord>(
      (client) => client.$queryRaw`
        SELECT page."workflowId", page.action, page.by, page.detail, page.at
          FROM (SELECT a.seq, a.workflow_id AS "workflowId", a.action, a.actor AS by, a.detail, a.created_at AS at
                  FROM dbos.workflow_actions a
                 WHERE a.workflow_id = ${id}
                 ORDER BY a.seq DESC
                 LIMIT ${atMost}::integer) AS page
         ORDER BY page.seq`,
    );
  }
}

/**
 * What was started while the family was being looked for is found by looking again; no child is started any more by what
 * was found before. Each round goes one generation deeper at least, or is the last.
 */
async function throughTheFamily(
  ids: readonly string[],
  children: boolean,
  round: (roots: string[]) => Promise<EndedWorkflow[]>,
): Promise<EndedWorkflow[]> {
  const ended: EndedWorkflow[] = [];
  for (;;) {
    const found = await round([...ids, ...ended.map(({ id }) => id)]);
    ended.push(...found);
    if (!children || found.length === 0) return ended;
  }
}

function placeColumns({ queue, priority, partitionKey }: Place): Record<string, unknown> {
  return { queue, priority, partition_key: partitionKey };
}

/** The row of a new fork, as the function takes it. */
function forkColumns(fork: NewFork, place: number): Record<string, unknown> {
  const { from, limit } = fork;
  return {
    place,
    origin_id: fork.originId,
    id: fork.id,
    action: fork.action,
    actor: fork.by,
    from_position: 'position' in from ? from.position : undefined,
    from_name: 'stepName' in from ? from.stepName : undefined,
    application_version: fork.applicationVersion,
    placement: fork.place && placeColumns(fork.place),
    is_limited: limit !== undefined,
    timeout_ms: limit?.timeoutMs,
    deadline: limit?.deadline,
  };
}
