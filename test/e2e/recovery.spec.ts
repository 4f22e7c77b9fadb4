// Going on after a death: what is found, what runs again, what is set aside, and what nobody here can run.
import { Injectable } from '@nestjs/common';
import { Workflow, WorkflowContext, WorkflowService } from 'nestjs-dbos';
import pg from 'pg';
import { Bodies, FiveSteps } from '../support/child-workflows.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { Ledger } from '../support/ledger.js';
import { StoppingPoints } from '../support/stopping-points.js';
import { startGatedApp, type GatedApp } from '../support/gated-app.js';
import { createTestApp, startTestApp, type TestApp } from '../support/test-app.js';

@Injectable()
class Budgets {
  constructor(private readonly bodies: Bodies) {}

  @Workflow({ name: 'Never', maxRecoveryAttempts: 0 })
  never(): Promise<string> {
    return this.bodies.numbered(0);
  }

  @Workflow({ name: 'Twice', maxRecoveryAttempts: 2 })
  twice(): Promise<string> {
    return this.bodies.numbered(0);
  }

  @Workflow({ name: 'Always', maxRecoveryAttempts: Infinity })
  always(): Promise<string> {
    return this.bodies.numbered(0);
  }

  @Workflow({ name: 'Failing' })
  async failing(): Promise<string> {
    await this.bodies.numbered(0);
    throw new Error('of its own');
  }
}

@Injectable()
class Legacy {
  @Workflow({ name: 'Legacy' })
  async run(): Promise<string> {
    return 'from the old code';
  }
}

@Injectable()
class Crowd {
  running = 0;
  mostRunning = 0;
  bodies = 0;

  constructor(private readonly flow: WorkflowContext) {}

  @Workflow({ name: 'Crowd' })
  async run(): Promise<void> {
    this.running += 1;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    await this.flow.step('one', () => (this.bodies += 1));
    this.running -= 1;
  }
}

@Injectable()
class Family {
  constructor(
    private readonly workflows: WorkflowService,
    private readonly bodies: Bodies,
  ) {}

  @Workflow({ name: 'Parent' })
  async parent(): Promise<string> {
    const child = await this.workflows.execute(Family).child();
    return `${await this.bodies.numbered(1)} after ${child}`;
  }

  @Workflow({ name: 'Child' })
  async child(): Promise<string> {
    return this.bodies.numbered(0);
  }
}

let database: TestDatabase;
let ledger: Ledger;
let points: StoppingPoints;
const apps: TestApp[] = [];

type AppOptions = NonNullable<Parameters<typeof startTestApp>[0]['options']>;

const settings = (
  options: AppOptions = {},
  { legacy = false, stops = points } = {},
): Parameters<typeof startTestApp>[0] => ({
  url: database.url,
  providers: [
    Bodies,
    FiveSteps,
    Budgets,
    Crowd,
    Family,
    ...(legacy ? [Legacy] : []),
    { provide: Ledger, useValue: ledger },
    { provide: StoppingPoints, useValue: stops },
  ],
  options,
});

async function startApp(...given: Parameters<typeof settings>): Promise<GatedApp> {
  const app = await startGatedApp(settings(...given));
  apps.push(app);
  return app;
}

/** Starts an application and lets it die where something of it stands at `point`, for ever. */
async function dieAt(point: string, start?: (app: TestApp) => Promise<unknown>): Promise<void> {
  const stops = new StoppingPoints();
  const reached = stops.stopAt(point);
  const app = await startApp({}, { stops });
  await start?.(app);
  await reached;
  await app.kill();
}

/** Unfinished workflows of a process that died long ago. */
async function leaveBehind(name: string, count: number, status = 'PENDING'): Promise<void> {
  await ledger.query(
    `INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, serialization, input)
     SELECT $1 || '-' || n, $1, $3, CASE $3 WHEN 'PENDING' THEN 'long dead' END,
            CASE $3 WHEN 'PENDING' THEN 1 ELSE 0 END, 'json', '[]'
       FROM generate_series(1, $2::int) AS n`,
    [name, count, status],
  );
}

async function statuses(): Promise<Record<string, number>> {
  const rows = await ledger.query<{ status: string; count: number }>(
    'SELECT status, count(*)::int AS count FROM dbos.workflows GROUP BY status',
  );
  return Object.fromEntries(rows.map(({ status, count }) => [status, count]));
}

const row = async (id: string): Promise<pg.QueryResultRow | undefined> =>
  (await ledger.query('SELECT * FROM dbos.workflows WHERE id = $1', [id]))[0];

const SET_ASIDE = { code: 'DBOS_RECOVERY_ATTEMPTS_EXCEEDED' };

beforeAll(async () => {
  database = await createTestDatabase();
  ledger = await Ledger.open(database.url);
  await ledger.create();
});

beforeEach(() => {
  points = new StoppingPoints();
});

afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()));
  await ledger.query('TRUNCATE dbos.workflows, dbos.steps, dbos.executors, public.test_ledger');
});

afterAll(async () => {
  await ledger.close();
  await database.drop();
});

describe('The budget of recoveries', () => {
  it('B26: of 0 sets a workflow aside at the first death, without running it again', async () => {
    await dieAt('step 0 done', (app) =>
      app.workflows.start(Budgets, { workflowId: 'never' }).never(),
    );

    const app = await startApp();

    await expect(app.workflows.handle('never').result()).rejects.toMatchObject(SET_ASIDE);
    expect(await ledger.counts('never')).toEqual({ 'step 0': 1 });
  });

  it('B26: of 2 lets a workflow run three times and sets it aside at the third death', async () => {
    await dieAt('step 0 done', (app) =>
      app.workflows.start(Budgets, { workflowId: 'twice' }).twice(),
    );
    for (let recovery = 1; recovery <= 2; recovery += 1) await dieAt('step 0 done');

    const app = await startApp();

    await expect(app.workflows.handle('twice').result()).rejects.toMatchObject(SET_ASIDE);
    expect(await ledger.counts('twice')).toEqual({ 'step 0': 3 });
    expect(await row('twice')).toMatchObject({ recovery_attempts: 3 });
  });

  it('B26: leaves a workflow that was set aside to whoever resumes it, with a fresh budget', async () => {
    await dieAt('step 0 done', (app) =>
      app.workflows.start(Budgets, { workflowId: 'never' }).never(),
    );
    const app = await startApp();
    const again = await eventually(async () => {
      const handle = await app.workflows.start(Budgets, { workflowId: 'never' }).never();
      await expect(handle.result()).rejects.toMatchObject(SET_ASIDE);
      return handle;
    });

    await app.workflows.resume('never');

    expect(await again.result()).toBe('result 0');
    expect(await row('never')).toMatchObject({ status: 'SUCCESS', recovery_attempts: 0 });
  });

  it('B27: spares a workflow that was given a fresh one before it could be set aside', async () => {
    const survivor = await startApp();
    const settingAside = survivor.gates.hold('dbos.write_transitions', 'unsent');
    await dieAt('step 0 done', (app) =>
      app.workflows.start(Budgets, { workflowId: 'never' }).never(),
    );
    await settingAside.reached;

    await survivor.workflows.cancel('never');
    const cancelled = await row('never');
    await survivor.workflows.resume('never');
    // Claimed anew, which raises the epoch: it may be over before anybody sees it PENDING.
    await eventually(async () =>
      expect((await row('never'))?.['epoch']).toBe(cancelled?.['epoch'] + 1),
    );
    settingAside.open();

    expect(await survivor.workflows.handle('never').result()).toBe('result 0');
    expect(await row('never')).toMatchObject({ status: 'SUCCESS', recovery_attempts: 0 });
  });

  it('of Infinity is never used up', async () => {
    await dieAt('step 0 done', (app) =>
      app.workflows.start(Budgets, { workflowId: 'always' }).always(),
    );
    await ledger.query('UPDATE dbos.workflows SET recovery_attempts = 1000000');

    const app = await startApp();

    expect(await app.workflows.handle('always').result()).toBe('result 0');
  });

  it('is not touched by a graceful stop', async () => {
    const app = await startApp();
    const reached = points.stopAt('step 0 begun');
    await app.workflows.start(Budgets, { workflowId: 'never' }).never();
    await reached;
    await app.close();
    points.goOnFrom('step 0 begun');

    const next = await startApp();

    expect(await next.workflows.handle('never').result()).toBe('result 0');
    expect(await row('never')).toMatchObject({ recovery_attempts: 0 });
  });

  it('of one workflow does not hold up the recovery of others', async () => {
    await dieAt('step 0 done', async (app) => {
      await app.workflows.start(Budgets, { workflowId: 'never' }).never();
      await app.workflows.start(FiveSteps, { workflowId: 'five' }).run();
    });

    const app = await startApp();

    expect(await app.workflows.handle('five').result()).toContain('result 4');
    await expect(app.workflows.handle('never').result()).rejects.toMatchObject(SET_ASIDE);
  });
});

describe('B24: A workflow whose name nobody registers', () => {
  beforeEach(async () => {
    await leaveBehind('Legacy', 3);
    await leaveBehind('Crowd', 2);
  });

  it('neither fails the start nor holds up the others, and is reported', async () => {
    const app = await startApp();

    await app.workflows.handle('Crowd-1').result();
    await app.workflows.handle('Crowd-2').result();
    expect(await app.workflows.recovery()).toMatchObject({
      stranded: [{ name: 'Legacy', count: 3 }],
    });
  });

  it('is owned by nobody', async () => {
    const app = await startApp();
    await app.workflows.handle('Crowd-2').result();
    expect(await row('Legacy-1')).toMatchObject({ status: 'ENQUEUED', executor_id: null });
  });

  it('does not keep the recovery of this process from being done', async () => {
    const app = await startApp();
    await eventually(async () =>
      expect(await app.workflows.recovery()).toMatchObject({ phase: 'done', recovered: 2 }),
    );
  });

  it('runs as soon as a process appears that has it', async () => {
    const without = await startApp();
    await without.workflows.handle('Crowd-2').result();

    await startApp({}, { legacy: true });

    expect(await without.workflows.handle('Legacy-3').result()).toBe('from the old code');
  });
});

describe('The recovery of many', () => {
  const MANY_MS = 50_000;

  it('P41: never runs more of them at once than workflows may run here', async () => {
    await leaveBehind('Crowd', 500);

    const app = await startApp({ maxConcurrentWorkflows: 10 });

    await eventually(async () => expect(await statuses()).toEqual({ SUCCESS: 500 }), MANY_MS);
    expect(app.get(Crowd)).toMatchObject({ mostRunning: 10, bodies: 500 });
  });

  it('finds them all, however many batches they are', async () => {
    await leaveBehind('Crowd', 2_500);

    const app = await startApp();

    await eventually(async () => expect(await statuses()).toEqual({ SUCCESS: 2_500 }), MANY_MS);
    expect(app.get(Crowd).bodies).toBe(2_500);
  });
});

describe('A row that somebody holds locked', () => {
  let holder: pg.Client;

  beforeEach(async () => {
    holder = new pg.Client({ connectionString: database.url });
    await holder.connect();
    await holder.query('BEGIN');
  });

  afterEach(() => holder.end());

  it('does not hold up the recovery of the others, and is recovered once it is free', async () => {
    await leaveBehind('Crowd', 20);
    await holder.query(`SELECT FROM dbos.workflows WHERE id = 'Crowd-7' FOR UPDATE`);

    const app = await startApp();
    await eventually(async () => expect(await statuses()).toEqual({ SUCCESS: 19, PENDING: 1 }));
    await holder.query('ROLLBACK');

    await app.workflows.handle('Crowd-7').result();
    expect(app.get(Crowd).bodies).toBe(20);
  });

  it('does not hold up the heartbeats of the living when it is that of a dead executor', async () => {
    await ledger.query(
      `INSERT INTO dbos.executors (id, lease_ms, hostname, pid, dead_at)
       VALUES ('long dead', 500, 'elsewhere', 1, now())`,
    );
    await leaveBehind('Crowd', 1);
    await holder.query(`SELECT FROM dbos.executors WHERE id = 'long dead' FOR UPDATE`);

    const app = await startApp({ leaseMs: 500 });
    await app.workflows.handle('Crowd-1').result();

    const beats = app.faults.matching('dbos.heartbeat').length;
    await eventually(() =>
      expect(app.faults.matching('dbos.heartbeat').length).toBeGreaterThan(beats + 3),
    );
  });
});

describe('B42: A child', () => {
  it('that is still running is found again by the replay of its parent, and is not started twice', async () => {
    await dieAt('step 0 begun', (app) =>
      app.workflows.start(Family, { workflowId: 'parent' }).parent(),
    );

    const app = await startApp();

    expect(await app.workflows.handle('parent').result()).toBe('result 1 after result 0');
    expect(await ledger.query('SELECT id, parent_id FROM dbos.workflows ORDER BY id')).toEqual([
      { id: 'parent', parent_id: null },
      { id: 'parent-0', parent_id: 'parent' },
    ]);
    expect(await ledger.counts('parent-0')).toEqual({ 'step 0': 1 });
  });

  it('that had ended does not run again when its parent does', async () => {
    await dieAt('step 1 begun', (app) =>
      app.workflows.start(Family, { workflowId: 'parent' }).parent(),
    );

    const app = await startApp();

    expect(await app.workflows.handle('parent').result()).toBe('result 1 after result 0');
    expect(await row('parent-0')).toMatchObject({ epoch: 1, status: 'SUCCESS' });
    expect(await ledger.counts('parent-0')).toEqual({ 'step 0': 1 });
  });
});

describe('B62: An input that cannot be read', () => {
  it.each([
    { what: 'is no JSON', input: '[1, 2', format: 'json' },
    { what: 'is of an unknown format', input: '[]', format: 'protobuf' },
    { what: 'is no list of arguments', input: '{"a":1}', format: 'json' },
    { what: 'is of a broken superjson', input: '{"json":', format: 'superjson' },
  ])('because it $what ends its workflow as ERROR and no other', async ({ input, format }) => {
    await leaveBehind('Crowd', 3);
    await ledger.query(
      `UPDATE dbos.workflows SET input = $1, serialization = $2 WHERE id = 'Crowd-2'`,
      [input, format],
    );

    const app = await startApp();

    await expect(app.workflows.handle('Crowd-2').result()).rejects.toThrow(/arguments|input/i);
    await eventually(async () => expect(await statuses()).toEqual({ SUCCESS: 2, ERROR: 1 }));
    expect(app.get(Crowd).bodies).toBe(2);
  });
});

describe('A claim whose answer was lost', () => {
  it('is run all the same, each of its workflows once', async () => {
    const app = await startApp();
    app.faults.loseAnswerOfNext('dbos.claim_workflows', 2);
    await leaveBehind('Crowd', 20, 'ENQUEUED');

    await eventually(async () => expect(await statuses()).toEqual({ SUCCESS: 20 }));
    expect(app.get(Crowd).bodies).toBe(20);
  });

  it('is run all the same when its workflow is started again just then', async () => {
    const app = await startApp();
    const start = app.gates.hold('dbos.start_workflows', 'unsent');
    const claim = app.gates.hold('dbos.claim_workflows', 'unsent');
    await claim.reached;
    const again = app.workflows.start(Crowd, { workflowId: 'Crowd-1' }).run();
    await start.reached;
    await leaveBehind('Crowd', 1, 'ENQUEUED');
    app.faults.loseAnswerOfNext('dbos.claim_workflows');
    claim.open();
    await eventually(() => expect(app.faults.matching('recovery_attempts +')).not.toEqual([]));

    start.open();

    await (await again).result();
    expect(app.get(Crowd).bodies).toBe(1);
  });

  it('is run all the same when the claim itself comes after it was given up', async () => {
    const app = await startApp({ statementTimeoutMs: 400 });
    const late = app.gates.hold('dbos.claim_workflows', 'unsent');
    const next = app.gates.hold('dbos.claim_workflows', 'unsent', { after: 1 });
    await next.reached; // the strays of the one before have been looked for
    await leaveBehind('Crowd', 1, 'ENQUEUED');
    late.open();
    // Taken by a claim that nobody listens to any more, unless it came too late even for that.
    await eventually(async () => expect(await statuses()).not.toEqual({ ENQUEUED: 1 }));

    next.open();

    await eventually(async () => expect(await statuses()).toEqual({ SUCCESS: 1 }));
  });

  it('takes nothing any more when it comes after the last search for what it had taken', async () => {
    const app = await startApp({ statementTimeoutMs: 400 });
    const late = app.gates.hold('dbos.claim_workflows', 'unsent');
    await eventually(() =>
      expect(app.faults.matching('recovery_attempts +').length).toBeGreaterThan(1),
    );
    const next = app.gates.hold('dbos.claim_workflows', 'unsent');
    await next.reached;
    const carriedOut = app.gates.hold('dbos.claim_workflows', 'committed');
    await leaveBehind('Crowd', 1, 'ENQUEUED');
    late.open();
    await carriedOut.reached;
    carriedOut.open();

    next.open();

    await eventually(async () => expect(await statuses()).toEqual({ SUCCESS: 1 }));
  });

  it('costs a workflow nothing of its budget: nothing of it has run', async () => {
    const app = await startApp();
    app.faults.loseAnswerOfNext('dbos.claim_workflows', 3);
    await leaveBehind('Never', 1, 'ENQUEUED');

    expect(await app.workflows.handle('Never-1').result()).toBe('result 0');
  });
});

describe('recovery()', () => {
  it('B25: is idle before the launch', async () => {
    const app = await createTestApp(settings());
    apps.push(app);
    expect(await app.workflows.recovery()).toMatchObject({ phase: 'idle', found: 0 });
  });

  it('B25: is done at once where nothing was left behind', async () => {
    const app = await startApp();
    await eventually(async () =>
      expect(await app.workflows.recovery()).toMatchObject({ phase: 'done', found: 0 }),
    );
  });

  it('B25: counts what it found and what became of it', async () => {
    await dieAt('step 0 done', async (app) => {
      await app.workflows.start(FiveSteps, { workflowId: 'well' }).run();
      await app.workflows.start(Budgets, { workflowId: 'badly' }).failing();
      await app.workflows.start(Budgets, { workflowId: 'aside' }).never();
      await eventually(async () => expect(await ledger.entries()).toHaveLength(3));
    });
    const reached = points.stopAt('step 0 begun');

    const app = await startApp();
    await reached;
    await eventually(async () =>
      expect(await app.workflows.recovery()).toMatchObject({
        phase: 'running',
        found: 3,
        replaying: 2,
        deadLettered: 1,
        pending: 2,
        oldestUnfinishedAt: expect.any(Date) as Date,
      }),
    );
    points.goOnFrom('step 0 begun');

    await eventually(async () =>
      expect(await app.workflows.recovery()).toMatchObject({
        phase: 'done',
        found: 3,
        replaying: 0,
        recovered: 1,
        failed: 1,
        deadLettered: 1,
        pending: 0,
      }),
    );
  });
});
