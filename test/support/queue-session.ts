// One connection that works on queues as an executor's repository does, and may keep its transaction open: for tests of
// what two of them do to each other.
import pg from 'pg';
import { SystemClock } from '../../libs/dbos/src/core/clock.js';
import { SILENT_LOGGER } from '../../libs/dbos/src/core/logger.js';
import type { EnqueueOptions, QueueLimits } from '../../libs/dbos/src/core/queue.js';
import { Database } from '../../libs/dbos/src/prisma/database.js';
import { DriverStatements } from '../../libs/dbos/src/prisma/driver-statements.js';
import { PrismaControlRepository } from '../../libs/dbos/src/prisma/prisma-control-repository.js';
import { PrismaExecutorRepository } from '../../libs/dbos/src/prisma/prisma-executor-repository.js';
import { PrismaQueueRepository } from '../../libs/dbos/src/prisma/prisma-queue-repository.js';
import { PrismaWorkflowRepository } from '../../libs/dbos/src/prisma/prisma-workflow-repository.js';
import { StartPipeline } from '../../libs/dbos/src/prisma/start-pipeline.js';
import { TransitionPipeline } from '../../libs/dbos/src/prisma/transition-pipeline.js';
import type { Claim, ClaimAnswer } from '../../libs/dbos/src/repository/queue-repository.js';
import { eventually } from './eventually.js';

/** The name of the workflows that `enqueue` writes. */
export const NAME = 'Packing';

export type WaitingWorkflow = Pick<EnqueueOptions, 'priority' | 'partitionKey'> & {
  readonly id: string;
  readonly name?: string;
  readonly applicationVersion?: string;
};

export interface ClaimOptions {
  /** In the order in which they are claimed from; nothing is running of them. */
  readonly queues: readonly (string | Claim['queues'][number])[];
  readonly limit?: number;
  readonly executorId?: string;
  readonly names?: readonly string[];
  readonly versions?: readonly string[];
  readonly expiresAt?: Date;
}

/** Longer than any test. */
const VALID_MS = 60_000;

export class QueueSession {
  readonly queues: PrismaQueueRepository;
  readonly workflows: PrismaWorkflowRepository;
  readonly control: PrismaControlRepository;

  private readonly executors: PrismaExecutorRepository;
  private readonly database: Database;

  private constructor(
    private readonly pool: pg.Pool,
    readonly pid: number,
  ) {
    const statements = new DriverStatements(pool);
    const settings = { clock: new SystemClock(), logger: SILENT_LOGGER };
    const database = new Database(() => statements, settings);
    this.database = database;
    const [starts, transitions] = [new StartPipeline(database), new TransitionPipeline(database)];
    this.queues = new PrismaQueueRepository(database);
    this.control = new PrismaControlRepository(database);
    this.executors = new PrismaExecutorRepository(database, () => undefined);
    this.workflows = new PrismaWorkflowRepository(database, starts, transitions);
  }

  static async open(url: string): Promise<QueueSession> {
    const pool = new pg.Pool({ connectionString: url, max: 1, idleTimeoutMillis: 0 });
    pool.on('error', () => undefined);
    const { rows } = await pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    return new QueueSession(pool, rows[0]!.pid);
  }

  /** Ends it whatever it is doing: nothing is committed, and nothing is tried again. */
  async end(observer: QueueSession): Promise<void> {
    this.database.close();
    await observer.query('SELECT pg_terminate_backend($1)', [this.pid]);
    await this.close();
  }

  async close(): Promise<void> {
    await this.pool.end();
  }

  async query<Row extends pg.QueryResultRow>(sql: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.pool.query<Row>(sql, values)).rows;
  }

  async begin(): Promise<void> {
    await this.pool.query('BEGIN');
  }

  async commit(): Promise<void> {
    await this.pool.query('COMMIT');
  }

  async declare(name: string, limits: QueueLimits = {}): Promise<void> {
    await this.queues.declare([{ name, limits }]);
  }

  /** Puts workflows on a queue, in this order. */
  async enqueue(queue: string, workflows: readonly (string | WaitingWorkflow)[]): Promise<void> {
    const input = { text: '[]', format: 'json' };
    const given = workflows.map((one) => (typeof one === 'string' ? { id: one } : one));
    await this.workflows.startMany(given.map((one) => ({ name: NAME, input, queue, ...one })));
  }

  /** Joins as an executor of this version that registers these workflows. */
  async register(
    id: string,
    applicationVersion: string,
    workflows: readonly string[],
  ): Promise<void> {
    const process = { leaseMs: VALID_MS, hostname: 'elsewhere', pid: 1 };
    await this.executors.register({ id, applicationVersion, workflows, queues: [], ...process });
  }

  claim({ queues, ...options }: ClaimOptions): Promise<ClaimAnswer> {
    return this.queues.claim({
      executorId: `session ${this.pid}`,
      names: [NAME],
      versions: ['v1'],
      limit: 100,
      validForMs: VALID_MS,
      expiresAt: new Date(Date.now() + VALID_MS),
      ...options,
      queues: queues.map((queue) => (typeof queue === 'string' ? { queue, running: 0 } : queue)),
    });
  }

  /** The ids of what it claims, in order. */
  async claimIds(options: ClaimOptions): Promise<string[]> {
    const { claimed } = await this.claim(options);
    return claimed.map(({ id }) => id);
  }

  /** Resolves once the statement of `other` waits for this session. */
  async holdsUp(other: QueueSession, observer: QueueSession): Promise<void> {
    const sql = 'SELECT $1 = ANY (pg_blocking_pids($2)) AS "isHeldUp"';
    await eventually(async () => {
      const [row] = await observer.query<{ isHeldUp: boolean }>(sql, [this.pid, other.pid]);
      if (!row?.isHeldUp) throw new Error(`Session ${other.pid} does not wait for ${this.pid}.`);
    });
  }
}
