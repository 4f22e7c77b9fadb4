// Thousands who wait at once: one connection to be told by, one timer, few statements, and nobody else held up by them.
import { Injectable } from '@nestjs/common';
import { Step, Workflow, WorkflowContext, type WorkflowHandle } from 'nestjs-dbos';
import pg from 'pg';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

const WAITERS = 1_000;
const POOL = 2;

@Injectable()
class Waiting {
  constructor(private readonly flow: WorkflowContext) {}

  @Workflow()
  run(): Promise<string | undefined> {
    return this.flow.recv<string>('call', { timeout: '5m' });
  }
}

@Injectable()
class Working {
  @Workflow()
  async run(steps: number): Promise<number> {
    let sum = 0;
    for (let index = 0; index < steps; index += 1) sum += await this.step(index);
    return sum;
  }

  @Step()
  async step(index: number): Promise<number> {
    return index;
  }
}

describe(`${WAITERS} workflows that wait, on a pool of ${POOL},`, () => {
  let database: TestDatabase;
  let app: TestApp;
  let admin: pg.Client;
  let handles: WorkflowHandle<string | undefined>[];

  beforeAll(async () => {
    database = await createTestDatabase();
    admin = new pg.Client({ connectionString: database.url });
    await admin.connect();
    app = await startTestApp({
      url: database.url,
      poolSize: POOL,
      providers: [Waiting, Working],
      options: { sessionUrl: database.url, pollIntervalMs: 200, parkAfterMs: 600_000 },
    });
    handles = await Promise.all(
      Array.from({ length: WAITERS }, () => app.workflows.start(Waiting).run()),
    );
    await eventually(() => {
      if (waiters().length < WAITERS) throw new Error(`Only ${waiters().length} wait.`);
    });
  });

  afterAll(async () => {
    await app.close();
    await admin.end();
    await database.drop();
  });

  /** Those who wait, and those who wait and look again just now. */
  function waiters(): unknown[] {
    const { arrivals } = app.app.get(Engine)['parts'];
    return [...arrivals['waiters'].values()].flatMap((set) => [...set]);
  }

  it('need no connection but the pool and the one for notifications', async () => {
    const { rows } = await admin.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    );
    expect(rows[0]?.count).toBeLessThanOrEqual(POOL + 1);
  });

  it('are looked for in one statement or two at each interval', async () => {
    const looks = (): number => app.faults.matching('dbos.receive_messages').length;
    const before = looks();
    const startedAt = performance.now();
    await eventually(() => expect(looks()).toBeGreaterThan(before + 5));
    const intervals = Math.ceil((performance.now() - startedAt) / (200 * 0.9)) + 1;
    expect(looks() - before).toBeLessThanOrEqual(3 * intervals);
  });

  it('B66: hold up nobody else, even while the database does not answer them', async () => {
    await admin.query('BEGIN');
    await admin.query('LOCK TABLE dbos.messages IN ACCESS EXCLUSIVE MODE');
    await eventually(async () => {
      const { rows } = await admin.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      expect(rows).toHaveLength(1);
    });
    expect(await app.workflows.execute(Working).run(20)).toBe(190);
    await admin.query('COMMIT');
  });

  it('are all woken by their messages', async () => {
    const receipts = (): number => app.faults.matching('dbos.receive_messages').length;
    const before = receipts();
    await Promise.all(
      handles.map(({ workflowId }) =>
        app.workflows.send(workflowId, workflowId, { topic: 'call' }),
      ),
    );
    const results = await Promise.all(handles.map((handle) => handle.result()));
    expect(results).toEqual(handles.map(({ workflowId }) => workflowId));
    expect(receipts() - before).toBeLessThanOrEqual(100);
    expect(waiters()).toEqual([]);
  });
});
