// With years of history in the tables no statement of the engine reads more than its own rows, whatever the planner
// believes of the tables: that they are empty, that everything in them is unfinished, or the truth.
//
// GROWTH_WORKFLOWS=1000000 for more history; GROWTH_EXPLAIN=1 prints the plan of every statement.
import { readFile, readdir } from 'node:fs/promises';
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import type { Owner } from '../../libs/dbos/src/core/owner.js';
import { PrismaCheckpointRepository } from '../../libs/dbos/src/prisma/prisma-checkpoint-repository.js';
import type { NewStep } from '../../libs/dbos/src/repository/step-repository.js';
import type { NewWorkflow } from '../../libs/dbos/src/repository/workflow-repository.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { writeActive, writeHistory, type ActiveRows } from '../support/history.js';
import { TableReads, type Reads } from '../support/table-reads.js';

const WORKFLOWS = Number(process.env['GROWTH_WORKFLOWS'] ?? 200_000);
const EXPLAIN = process.env['GROWTH_EXPLAIN'] !== undefined;

/** What one operation may read at most. None of them is about more than 64 workflows. */
const MOST: Reads = { scans: 0, scannedRows: 0, entries: 600, blocks: 2_000 };

/** A connection that has planned a statement this often keeps the plan. */
const WARM_UP_ROUNDS = 7;

/** The format tells rows of a test from history. */
const TEXT = { text: '"done"', format: 'test' };

interface Stage {
  readonly repository: PrismaCheckpointRepository;
  /** A new id, executor or prefix. */
  unique(): string;
  /** Puts workflows in place; not counted. */
  place(rows: Omit<ActiveRows, 'prefix'>): Promise<string[]>;
  /** Declares an executor dead; not counted. */
  kill(id: string): Promise<unknown>;
  /** The next answer to a statement that contains `part` is lost on its way, or something else comes in its place. */
  tamper(part: string, how: 'lose' | 'empty'): void;
}

/** Puts in place what the operation needs; what it returns is the operation. */
type Operation = (stage: Stage) => Promise<() => Promise<unknown>>;

/** In the statistics of the third situation this executor owns all there is. */
const EXECUTOR = 'executor 1';

const newWorkflow = (id: string, executorId?: string): NewWorkflow => ({
  id,
  name: 'Name 0',
  input: TEXT,
  ...(executorId !== undefined && { executorId }),
});

const newStep = (stepId: number): NewStep => ({
  stepId: String(stepId),
  name: `step ${stepId}`,
  output: TEXT,
  attempts: 1,
  durationMs: 1,
});

const many = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

async function owned({ place }: Stage, count = 1, executorId = EXECUTOR): Promise<Owner[]> {
  const ids = await place({ status: 'PENDING', count, executorId });
  return ids.map((workflowId) => ({ workflowId, executorId, epoch: 1 }));
}

async function joined({ repository, unique }: Stage, name?: string): Promise<string> {
  const id = unique();
  await repository.executors.register({
    id,
    leaseMs: 60_000,
    hostname: 'elsewhere',
    pid: 1,
    ...(name !== undefined && { name }),
  });
  return id;
}

const claim = ({ repository, unique }: Stage, limit: number, queues: readonly string[] = []) =>
  repository.queues.claim({
    executorId: unique(),
    names: ['Name 0', 'Name 1'],
    queues: queues.map((queue) => ({ queue, running: 0 })),
    limit,
    validForMs: 10_000,
    expiresAt: new Date(Date.now() + 60_000),
  });

const OPERATIONS: Readonly<Record<string, Operation>> = {
  'a start': async ({ repository, unique }) => {
    return () => repository.workflows.start(newWorkflow(unique(), 'executor'));
  },
  'an enqueued start': async ({ repository, unique }) => {
    return () => repository.workflows.start(newWorkflow(unique()));
  },
  '64 starts at once': async ({ repository, unique }) => {
    return () =>
      Promise.all(
        many(64).map(() => repository.workflows.start(newWorkflow(unique(), 'executor'))),
      );
  },
  'a start of a finished workflow': async ({ repository }) => {
    return () => repository.workflows.start(newWorkflow('history 1', 'executor'));
  },
  'a start that another has overtaken': async ({ repository, unique, tamper }) => {
    tamper('dbos.start_workflows', 'empty');
    return () => repository.workflows.start(newWorkflow(unique(), 'executor'));
  },
  'a step': async (stage) => {
    const [owner] = await owned(stage);
    return () => stage.repository.steps.record(owner!, newStep(0));
  },
  'the steps of 64 runs at once': async (stage) => {
    const owners = await owned(stage, 64);
    return () =>
      Promise.all(owners.map((owner) => stage.repository.steps.record(owner, newStep(0))));
  },
  'a step that stands already': async (stage) => {
    const [owner] = await owned(stage);
    await stage.repository.steps.record(owner!, newStep(0));
    return () => stage.repository.steps.record(owner!, newStep(0));
  },
  'a step of a lost run': async ({ repository }) => {
    const owner = { workflowId: 'history 2', executorId: 'executor 2', epoch: 1 };
    return () => repository.steps.record(owner, newStep(0));
  },
  'a settlement': async (stage) => {
    const [owner] = await owned(stage);
    return () => stage.repository.workflows.settle(owner!, { status: 'SUCCESS', output: TEXT });
  },
  'a settlement as delayed': async (stage) => {
    const [owner] = await owned(stage);
    const wakeAt = new Date(Date.now() + 3_600_000);
    return () => stage.repository.workflows.settle(owner!, { status: 'DELAYED', wakeAt });
  },
  'the settlements of 64 runs at once': async (stage) => {
    const owners = await owned(stage, 64);
    return () =>
      Promise.all(
        owners.map((owner) =>
          stage.repository.workflows.settle(owner, { status: 'SUCCESS', output: TEXT }),
        ),
      );
  },
  'a settlement whose answer is lost': async (stage) => {
    const [owner] = await owned(stage);
    stage.tamper('dbos.write_transitions', 'lose');
    return () => stage.repository.workflows.settle(owner!, { status: 'SUCCESS', output: TEXT });
  },
  'a claim of nothing': async (stage) => () => claim(stage, 1_000),
  'a claim among what others must run': async (stage) => {
    await stage.place({ status: 'ENQUEUED', count: 64, name: 'Name of others' });
    return () => claim(stage, 1_000);
  },
  'a claim of one of many': async (stage) => {
    await stage.place({ status: 'ENQUEUED', count: 64 });
    return () => claim(stage, 1);
  },
  'a claim of all': async (stage) => {
    await stage.place({ status: 'ENQUEUED', count: 64 });
    return () => claim(stage, 1_000);
  },
  'a requeue of nothing': async ({ repository }) => {
    return () =>
      repository.queues.requeue({ executorIds: [EXECUTOR, 'executor 2'], countsAsRecovery: true });
  },
  'a requeue of what a dead executor owned': async (stage) => {
    await owned(stage, 64);
    const executorIds = [EXECUTOR, stage.unique()];
    return () => stage.repository.queues.requeue({ executorIds, countsAsRecovery: true });
  },
  'a look for strays': async (stage) => {
    const owners = await owned(stage, 64);
    return () =>
      stage.repository.queues.requeue({
        executorIds: [EXECUTOR],
        except: owners.map(({ workflowId }) => workflowId),
        before: new Date(),
        countsAsRecovery: false,
      });
  },
  'a claim when nothing is due': async (stage) => {
    await stage.place({ status: 'DELAYED', count: 10 });
    return () => claim(stage, 1_000);
  },
  'a claim of what is due': async (stage) => {
    await stage.place({ status: 'DELAYED', count: 64, dueInSeconds: -1 });
    return () => claim(stage, 1_000);
  },
  'the outcomes of other processes': async ({ repository, place }) => {
    const unfinished = await place({ status: 'PENDING', count: 10, executorId: 'elsewhere' });
    const ids = [...many(50).map((n) => `history ${n + 1}`), ...unfinished, 'nobody'];
    return () => repository.workflows.outcomes(ids);
  },
  'a look at a workflow': async ({ repository }) => {
    return () => repository.workflows.find('history 3');
  },
  'the outcomes of 1,000 workflows': async ({ repository }) => {
    return () => repository.workflows.outcomes(many(1_000).map((n) => `history ${n + 1}`));
  },
  'a cancellation': async ({ repository, place }) => {
    const ids = await place({ status: 'ENQUEUED', count: 10 });
    return () => repository.workflows.cancel([...ids, 'history 4', 'nobody']);
  },
  'a resumption': async ({ repository, place }) => {
    const ids = await place({ status: 'CANCELLED', count: 10 });
    return () => repository.workflows.resume([...ids, 'history 5', 'nobody']);
  },
  'a resumption of nothing suspended': async ({ repository }) => {
    return () => repository.workflows.resumeSuspended(['Name 0', 'Name 1']);
  },
  'a resumption of what is suspended': async ({ repository, place }) => {
    await place({ status: 'SUSPENDED', count: 10 });
    return () => repository.workflows.resumeSuspended(['Name 0', 'Name 1']);
  },
  'the steps of a workflow':
    async ({ repository }) =>
    () =>
      repository.steps.list('history 6'),
  'the histories of claimed workflows': async ({ repository }) => {
    return () => repository.steps.history(many(64).map((n) => `history ${n + 1}`));
  },
  'the recovery report': async ({ repository, place }) => {
    await place({ status: 'ENQUEUED', count: 10 });
    await place({ status: 'DELAYED', count: 10 });
    return () => repository.workflows.countUnfinished(['Name 0']);
  },
  'a registration': async (stage) => () => joined(stage, stage.unique()),
  'a heartbeat': async (stage) => {
    const id = await joined(stage);
    await owned(stage, 10);
    await stage.place({ status: 'PENDING', count: 10, executorId: id });
    return () =>
      stage.repository.executors.heartbeat(id, { withinMs: 10_000, mayDeclare: () => true });
  },
  'a burial': async (stage) => {
    const { executors } = stage.repository;
    const [id, name] = [EXECUTOR, stage.unique()];
    await executors.register({ id, name, leaseMs: 60_000, hostname: 'elsewhere', pid: 1 });
    await stage.kill(id);
    return () => executors.bury([id, stage.unique()]);
  },
  'a removal': async (stage) => {
    const id = await joined(stage);
    return () => stage.repository.executors.remove(id);
  },
  'a look at the clock':
    async ({ repository }) =>
    () =>
      repository.executors.databaseNow(),
  'a probe':
    async ({ repository }) =>
    () =>
      repository.ping(),
};

/** One connection to the server, and a repository over it. */
class Session {
  readonly texts = new Set<string>();
  private tampering: { part: string; how: 'lose' | 'empty' } | undefined;
  private count = 0;

  private constructor(
    private readonly pool: pg.Pool,
    private readonly client: PrismaClient,
    private readonly admin: pg.Client,
    private readonly reads: TableReads,
    readonly repository: PrismaCheckpointRepository,
  ) {}

  static async open(url: string, admin: pg.Client): Promise<Session> {
    const pool = new pg.Pool({ connectionString: url, max: 1, idleTimeoutMillis: 0 });
    if (EXPLAIN) await explainEverythingOf(pool);
    const client = new PrismaClient({ adapter: new PrismaPg(pool) });
    const repository = new PrismaCheckpointRepository(() => client, {
      migrate: false,
      session: false,
    });
    const reads = await TableReads.open(url, pool);
    const session = new Session(pool, client, admin, reads, repository);
    session.listen();
    await repository.prepare();
    return session;
  }

  async close(): Promise<void> {
    await this.repository.close();
    await this.client.$disconnect();
    await this.pool.end();
    await this.reads.close();
  }

  /** Plans every statement, and so often that the plan is kept. */
  async warmUp(): Promise<void> {
    for (let round = 0; round < WARM_UP_ROUNDS; round += 1)
      for (const operation of Object.values(OPERATIONS)) await this.readsOf(operation);
  }

  async readsOf(operation: Operation): Promise<Reads> {
    const act = await operation(this.stage());
    const reads = await this.reads.during(act);
    // Each begins with what is finished; what was unfinished is left to the vacuum.
    await this.admin.query(`DELETE FROM dbos.workflows WHERE serialization = 'test'`);
    await this.admin.query('DELETE FROM dbos.executors');
    return reads;
  }

  private stage(): Stage {
    const prefix = `stage ${process.pid} ${(this.count += 1)} ${Math.random()}`;
    let ids = 0;
    const unique = (): string => `${prefix}-${(ids += 1)}`;
    return {
      repository: this.repository,
      unique,
      place: (rows) => writeActive(this.admin, { ...rows, prefix: `${unique()}/` }),
      kill: (id) =>
        this.admin.query('UPDATE dbos.executors SET dead_at = now() WHERE id = $1', [id]),
      tamper: (part, how) => void (this.tampering = { part, how }),
    };
  }

  private listen(): void {
    const send = this.pool.query.bind(this.pool) as (query: {
      text?: string;
    }) => Promise<{ rows: unknown[] }>;
    const heard = async (query: { text?: string }): Promise<{ rows: unknown[] }> => {
      const text = query.text ?? '';
      this.texts.add(normalized(text));
      const answer = await send(query);
      const { tampering } = this;
      if (!tampering || !text.includes(tampering.part)) return answer;
      this.tampering = undefined;
      if (tampering.how === 'empty') return { ...answer, rows: [] };
      throw Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
    };
    Object.defineProperty(this.pool, 'query', { value: heard });
  }
}

/** Plans come as notices, those of the statements in functions included. */
async function explainEverythingOf(pool: pg.Pool): Promise<void> {
  pool.on('connect', (client) => {
    client.on('notice', ({ message }) => process.stdout.write(`${message}\n\n`));
    void client.query(`LOAD 'auto_explain'`);
    void client.query(
      `SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
       SET auto_explain.log_level = notice; SET auto_explain.log_analyze = on; SET client_min_messages = notice`,
    );
  });
}

/** A statement without its parameters and line breaks. */
function normalized(sql: string): string {
  return sql
    .replaceAll(/\$\{[^}]*\}|\$\d+/g, '?')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

const countable = await TableReads.isPossible();
const reason = countable ? '' : ' (skipped: PostgreSQL 14 cannot make its counters current)';

(countable ? describe : describe.skip)(`With ${WORKFLOWS} workflows in the tables${reason}`, () => {
  let database: TestDatabase;
  let admin: pg.Client;
  let early: Session;

  beforeAll(async () => {
    database = await createTestDatabase();
    admin = new pg.Client({ connectionString: database.url });
    await admin.connect();
    // Statistics are what the test makes them.
    await admin.query('ALTER TABLE dbos.workflows SET (autovacuum_enabled = off)');
    await admin.query('ALTER TABLE dbos.steps SET (autovacuum_enabled = off)');
  }, 60_000);

  afterAll(async () => {
    await admin.end();
    await database.drop();
  });

  /** Operations that read more than they may, and what they read. */
  async function excessive(session: Session): Promise<Record<string, Reads>> {
    const found: Record<string, Reads> = {};
    for (const [name, operation] of Object.entries(OPERATIONS)) {
      const reads = await session.readsOf(operation);
      if (process.env['GROWTH_FIGURES'])
        process.stdout.write(`${name}: ${JSON.stringify(reads)}\n`);
      const kinds = Object.keys(MOST) as Array<keyof Reads>;
      if (kinds.some((kind) => reads[kind] > MOST[kind])) found[name] = reads;
    }
    return found;
  }

  async function excessiveOnFreshSession(): Promise<Record<string, Reads>> {
    const session = await Session.open(database.url, admin);
    const found = await excessive(session);
    await session.close();
    return found;
  }

  describe('that were never analysed', () => {
    beforeAll(async () => {
      early = await Session.open(database.url, admin);
      await early.warmUp();
      await admin.query('TRUNCATE dbos.workflows, dbos.steps, dbos.executors');
      await writeHistory(admin, WORKFLOWS);
    }, 600_000);

    afterAll(() => early.close());

    it('a connection that made its plans while they were empty reads its own rows only', async () => {
      expect(await excessive(early)).toEqual({});
    });

    it('a fresh connection reads its own rows only', async () => {
      expect(await excessiveOnFreshSession()).toEqual({});
    });

    it('every statement of the repositories is among those', async () => {
      const missing = (await statementsInSources()).filter((text) => !early.texts.has(text));
      expect(missing).toEqual([]);
    });
  });

  describe('that are analysed', () => {
    beforeAll(async () => {
      await admin.query('ANALYZE dbos.workflows, dbos.steps');
    }, 600_000);

    it('a fresh connection reads its own rows only', async () => {
      expect(await excessiveOnFreshSession()).toEqual({});
    });
  });

  describe('that were analysed when all were few and unfinished', () => {
    beforeAll(async () => {
      await admin.query('TRUNCATE dbos.workflows, dbos.steps, dbos.executors');
      for (const status of ['PENDING', 'ENQUEUED', 'DELAYED', 'SUSPENDED'] as const)
        await writeActive(admin, { status, count: 100, prefix: status, executorId: EXECUTOR });
      await admin.query('ANALYZE dbos.workflows, dbos.steps');
      early = await Session.open(database.url, admin);
      await early.warmUp();
      await admin.query('DELETE FROM dbos.workflows');
      await admin.query('DELETE FROM dbos.steps');
      await writeHistory(admin, WORKFLOWS);
    }, 600_000);

    afterAll(() => early.close());

    it('a connection that made its plans then reads its own rows only', async () => {
      expect(await excessive(early)).toEqual({});
    });

    it('a fresh connection reads its own rows only', async () => {
      expect(await excessiveOnFreshSession()).toEqual({});
    });
  });
});

/** All templates of `$queryRaw` in the repositories and pipelines, as they reach the server. */
async function statementsInSources(): Promise<string[]> {
  const directory = new URL('../../libs/dbos/src/prisma/', import.meta.url);
  const files = (await readdir(directory)).filter((file) =>
    /-(repository|pipeline)\.ts$/.test(file),
  );
  const sources = await Promise.all(
    files.map((file) => readFile(new URL(file, directory), 'utf8')),
  );
  return sources.flatMap((source) =>
    [...source.matchAll(/\$queryRaw(?:<[^`]*>)?`([^`]*)`/g)].map(([, text]) => normalized(text!)),
  );
}
