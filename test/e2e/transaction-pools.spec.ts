// The engine and transactions share the application's pool, however small it is, without starving each other.
import { Injectable } from '@nestjs/common';
import { Transaction, Workflow, WorkflowContext } from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { startGatedApp } from '../support/gated-app.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

@Injectable()
class Busy {
  open = 0;
  mostOpen = 0;
  hangs = new Set<string>();
  readonly holds = { reached: deferred<void>(), over: deferred<void>() };
  /** Whether the executor was sure of its lease, for each body of `work` as it began. */
  readonly sure: boolean[] = [];
  isSure = (): boolean => true;

  constructor(private readonly flow: WorkflowContext) {}

  @Workflow({ name: 'busy' })
  async run(name: string, ms: number): Promise<string> {
    await this.flow.step('before', () => name);
    await this.work(ms);
    await this.flow.sleep(1);
    await this.work(ms);
    return name;
  }

  @Workflow({ name: 'hanging' })
  async hang(name: string): Promise<string> {
    await this.hanging(name);
    return name;
  }

  @Transaction({ timeoutMs: 60_000, maxWaitMs: 60_000 })
  async work(ms: number): Promise<void> {
    this.open += 1;
    this.sure.push(this.isSure());
    this.mostOpen = Math.max(this.mostOpen, this.open);
    await this.flow.prisma<PrismaClient>().$executeRaw`SELECT pg_sleep(${ms / 1_000}::float8)`;
    this.open -= 1;
  }

  /** Never comes back, the first time. */
  @Transaction({ timeoutMs: 200 })
  async hanging(name: string): Promise<void> {
    await this.hangOnce(name);
  }

  private async hangOnce(name: string): Promise<void> {
    if (!this.hangs.delete(name)) return;
    await new Promise(() => undefined);
  }

  @Workflow({ name: 'holding' })
  hold(): Promise<void> {
    return this.holding();
  }

  /** Has the connection until the test lets it go. */
  @Transaction({ timeoutMs: 60_000 })
  async holding(): Promise<void> {
    this.holds.reached.resolve();
    await this.holds.over.promise;
  }

  @Workflow({ name: 'hanging without a limit' })
  async hangUnlimited(name: string): Promise<string> {
    await this.hangingUnlimited(name);
    return name;
  }

  /** Says nothing of how long it may take. */
  @Transaction()
  async hangingUnlimited(name: string): Promise<void> {
    await this.hangOnce(name);
  }
}

let database: TestDatabase;
let app: TestApp;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterEach(() => app.close());
afterAll(() => database.drop());

async function start(poolSize: number, leaseMs = 60_000): Promise<Busy> {
  app = await startTestApp({
    url: database.url,
    providers: [Busy],
    poolSize,
    options: { leaseMs },
  });
  return app.get(Busy);
}

async function runMany(count: number, ms: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, index) => `workflow ${index}`);
  const handles = await Promise.all(names.map((name) => app.workflows.start(Busy).run(name, ms)));
  return Promise.all(handles.map((handle) => handle.result()));
}

describe('A pool of one connection', () => {
  it('carries workflows, their transactions and the heartbeat', async () => {
    await start(1, 3_000);
    const { executorId } = app.app.get(Engine);
    const options = { leaseMs: 3_000, runWorkflows: false };
    const observer = await startTestApp({ url: database.url, options });

    // If all stood in line for the connection, a heartbeat would come behind four seconds of transactions.
    const names = await runMany(50, 80);
    await observer.close();
    expect(names).toHaveLength(50);
    expect(app.app.get(Engine).executorId).toBe(executorId); // the observer saw it alive all the time
  });

  it('is free again after a body that hangs, and that is tried again', async () => {
    const busy = await start(1);
    busy.hangs.add('hangs');
    const hanging = await app.workflows.start(Busy).hang('hangs');

    expect(await app.workflows.execute(Busy).run('another', 1)).toBe('another');
    expect(await hanging.result()).toBe('hangs');
  });
});

describe('A body that hangs, and that says nothing of a limit,', () => {
  it('has that of its client: its place comes free', async () => {
    const busy = await start(1);
    busy.hangs.add('hangs');
    const hanging = await app.workflows.start(Busy).hangUnlimited('hangs');

    expect(await app.workflows.execute(Busy).run('another', 1)).toBe('another');
    expect(await hanging.result()).toBe('hangs');
  });
});

describe('A pool of two connections', () => {
  it('carries many workflows at once, one transaction at a time', async () => {
    const busy = await start(2, 3_000);
    const { executorId } = app.app.get(Engine);

    expect(await runMany(64, 5)).toHaveLength(64);
    expect(busy.mostOpen).toBe(1);
    expect(app.app.get(Engine).executorId).toBe(executorId);
  });
});

describe('A transaction that gets its connection when the lease is in doubt', () => {
  it('begins no body before the lease is renewed', async () => {
    const options = { leaseMs: 500 };
    const gated = await startGatedApp({
      url: database.url,
      providers: [Busy],
      poolSize: 2,
      options,
    });
    app = gated;
    const [busy, { lease }] = [app.get(Busy), app.get(Engine)['parts'].common];
    busy.isSure = () => lease.isValid;
    const holding = await app.workflows.start(Busy).hold();
    await busy.holds.reached.promise;
    const waiting = await app.workflows.start(Busy).run('waiting', 1);
    const heartbeats = gated.gates.holdAll('dbos.heartbeat', 'unsent');
    await eventually(() => expect(lease.isValid).toBe(false));

    busy.holds.over.resolve();
    await holding.result();
    await eventually(() => expect(app.faults.matching('TRANSACTION')).toHaveLength(2));
    heartbeats.open();

    expect(await waiting.result()).toBe('waiting');
    expect(busy.sure).toEqual([true, true]);
  });
});

describe('A pool of three connections', () => {
  it('leaves one of them to the engine', async () => {
    const busy = await start(3);
    await runMany(20, 20);
    expect(busy.mostOpen).toBe(2);
  });
});
