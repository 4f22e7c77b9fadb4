// The repository without an engine above it, and workflows that a run of ours owns: for tests of single statements.
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import type { Owner } from '../../libs/dbos/src/core/owner.js';
import { PrismaCheckpointRepository } from '../../libs/dbos/src/prisma/prisma-checkpoint-repository.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import { eventually } from './eventually.js';
import { StatementGates } from './statement-gates.js';

export const OURS = { executorId: 'ours', epoch: 3 };
export const VALUE = { text: '1', format: 'json' };

export interface NewMessageRow {
  readonly topic?: string;
  readonly text?: string;
  /** The step that has received it. */
  readonly consumedBy?: string;
}

export class MessageStage {
  repository!: PrismaCheckpointRepository;
  /** A connection of the test's own. */
  admin!: pg.Client;
  gates!: StatementGates;
  private database!: TestDatabase;
  private prisma!: PrismaClient;

  async open(): Promise<void> {
    this.database = await createTestDatabase();
    const { url } = this.database;
    this.prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: 4 }) });
    this.admin = new pg.Client({ connectionString: url });
    await this.admin.connect();
  }

  /** Empty tables, and a repository without gates. */
  async renew(): Promise<void> {
    await this.repository?.close();
    this.gates = new StatementGates();
    const client = this.gates.wrap(this.prisma);
    this.repository = new PrismaCheckpointRepository(() => client, {
      migrate: false,
      session: false,
    });
    await this.admin.query(
      `TRUNCATE dbos.workflows, dbos.steps, dbos.messages, dbos.events, dbos.tokens, dbos.stream_entries CASCADE`,
    );
  }

  async close(): Promise<void> {
    await this.repository.close();
    await this.prisma.$disconnect();
    await this.admin.end();
    await this.database.drop();
  }

  /** A workflow that our run owns. */
  async owned(id: string): Promise<Owner> {
    await this.admin.query(
      `INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, serialization, input)
       VALUES ($1, 'Any', 'PENDING', $2, $3, 'json', '[]')`,
      [id, OURS.executorId, OURS.epoch],
    );
    return { workflowId: id, ...OURS };
  }

  async message(to: string, { topic = '', text = '0', consumedBy }: NewMessageRow = {}) {
    await this.admin.query(
      `INSERT INTO dbos.messages (workflow_id, topic, serialization, message, consumed_by)
       VALUES ($1, $2, 'json', $3, $4)`,
      [to, topic, text, consumedBy],
    );
  }

  /** A statement of the repository waits for a lock that the test holds. */
  async somebodyWaitsForALock(): Promise<void> {
    const waiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    await eventually(async () => {
      if ((await this.rows(waiting)).length === 0) throw new Error('Nobody waits for a lock.');
    });
  }

  async rows(sql: string): Promise<unknown[]> {
    return (await this.admin.query(sql)).rows;
  }
}

/** A database for the tests of a file, empty before each. */
export function useMessageStage(): MessageStage {
  const stage = new MessageStage();
  beforeAll(() => stage.open());
  beforeEach(() => stage.renew());
  afterAll(() => stage.close());
  return stage;
}
