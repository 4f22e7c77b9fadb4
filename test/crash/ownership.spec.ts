// Only the owner writes: moments at which a run loses its workflow, forced by SQL or at the door of a statement.
import { once } from 'node:events';
import { Injectable } from '@nestjs/common';
import { CheckpointRepository, Workflow, WorkflowContext, type StepContext } from 'nestjs-dbos';
import { SILENT_LOGGER } from '../../libs/dbos/src/core/logger.js';
import { SystemClock } from '../../libs/dbos/src/core/clock.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import type { Executor } from '../../libs/dbos/src/engine/executor.js';
import { Database } from '../../libs/dbos/src/prisma/database.js';
import { TransitionPipeline } from '../../libs/dbos/src/prisma/transition-pipeline.js';
import { Bodies } from '../support/child-workflows.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { connectionError } from '../support/faulty-client.js';
import { startGatedApp, type GatedApp } from '../support/gated-app.js';
import { Ledger } from '../support/ledger.js';
import { StoppingPoints } from '../support/stopping-points.js';

@Injectable()
class TwoSteps {
  constructor(
    private readonly bodies: Bodies,
    private readonly points: StoppingPoints,
  ) {}

  @Workflow({ name: 'TwoSteps' })
  async run(fails = false): Promise<string> {
    const results = [await this.bodies.numbered(0)];
    await this.points.pass('between the steps');
    results.push(await this.bodies.numbered(1));
    if (fails) throw new Error('mine');
    return results.join(', ');
  }
}

const TWO_RESULTS = 'result 0, result 1';
const TWO_ONCE = { 'step 0': 1, 'step 1': 1 };

/** A workflow that lets no error come through to it. */
@Injectable()
class Stubborn {
  readonly caught: unknown[] = [];

  constructor(
    private readonly bodies: Bodies,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow({ name: 'Stubborn' })
  async run(): Promise<string> {
    for (let index = 0; index < 3; index += 1) {
      await this.bodies.numbered(index).catch((error: unknown) => this.caught.push(error));
      await this.flow.sleep(1).catch((error: unknown) => this.caught.push(error));
    }
    return 'as if nothing had happened';
  }
}

/** Another executor has taken the workflow over and ended it. */
const RECORDED_BY_THIEF = `
  UPDATE dbos.workflows
     SET status = 'SUCCESS', executor_id = 'thief', epoch = epoch + 1, completed_at = now(),
         outcome_serialization = 'json', output = '"theirs"'`;

interface Internals {
  readonly executorId: string;
  readonly parts: { readonly executor: Executor };
}

/** A workflow that ends only when it is told to, and then as if it had been meant to. */
@Injectable()
class Deaf {
  constructor(private readonly flow: WorkflowContext) {}

  @Workflow({ name: 'Deaf' })
  async run(): Promise<string> {
    const told = ({ signal }: StepContext): Promise<unknown> => once(signal, 'abort');
    await this.flow.step('wait', told).catch(() => undefined);
    return 'as if nothing had happened';
  }
}

let database: TestDatabase;
let ledger: Ledger;
let points: StoppingPoints;
let app: GatedApp;
const others: GatedApp[] = [];

/** An application whose runs stop at `stops`; another one than `app` has stops of its own. */
async function startApp(
  options: { executorId?: string; leaseMs?: number; statementTimeoutMs?: number } = {},
  stops = new StoppingPoints(),
): Promise<GatedApp> {
  const started = await startGatedApp({
    url: database.url,
    providers: [
      Bodies,
      TwoSteps,
      Stubborn,
      Deaf,
      { provide: Ledger, useValue: ledger },
      { provide: StoppingPoints, useValue: stops },
    ],
    options,
  });
  others.push(started);
  return started;
}

async function row(workflowId: string): Promise<Record<string, unknown> | undefined> {
  const [found] = await ledger.query(
    `SELECT status, executor_id, epoch, recovery_attempts, output, error
       FROM dbos.workflows WHERE id = $1`,
    [workflowId],
  );
  return found;
}

const steps = (workflowId: string): Promise<unknown[]> =>
  ledger.query('SELECT step_id, epoch FROM dbos.steps WHERE workflow_id = $1 ORDER BY step_id', [
    workflowId,
  ]);

/** Ten polls of these applications. */
const somePolls = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 200));

/** Starts TwoSteps in `app` and returns once it is in the body of its second step, the first being checkpointed. */
async function startHeld(
  workflowId: string,
  fails?: boolean,
): Promise<{ result: Promise<string>; goOn: () => void }> {
  const inBody = points.stopAt('step 1 done');
  const handle = await app.workflows.start(TwoSteps, { workflowId }).run(fails);
  const result = handle.result();
  result.catch(() => undefined);
  await inBody;
  return { result, goOn: () => points.goOnFrom('step 1 done') };
}

beforeAll(async () => {
  database = await createTestDatabase();
  ledger = await Ledger.open(database.url);
  await ledger.create();
});

beforeEach(async () => {
  points = new StoppingPoints();
  app = await startApp({}, points);
});

afterEach(async () => {
  await Promise.all(others.splice(0).map((other) => other.close()));
  await ledger.query('TRUNCATE dbos.workflows, dbos.steps, dbos.executors, public.test_ledger');
});

afterAll(async () => {
  await ledger.close();
  await database.drop();
});

/** Of an executor `one`, which owns workflow `twice` at epoch 2. */
async function pipelineOfLiveExecutor(): Promise<TransitionPipeline> {
  const { executors } = app.app.get(CheckpointRepository);
  await executors.register({ id: 'one', leaseMs: 60_000, hostname: 'elsewhere', pid: 1 });
  await ledger.query(
    `INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, serialization, input)
     VALUES ('twice', 'Elsewhere', 'PENDING', 'one', 2, 'json', '[]')`,
  );
  const settings = { clock: new SystemClock(), logger: SILENT_LOGGER };
  return new TransitionPipeline(new Database(() => app.faults.client, settings));
}

describe('A run that lost its workflow', () => {
  it.each([
    { to: 'another executor', change: `executor_id = 'thief', epoch = epoch + 1` },
    { to: 'the same executor at a later epoch', change: 'epoch = epoch + 1' },
    { to: 'another executor without a new epoch', change: `executor_id = 'thief'` },
    { to: 'the queue', change: `status = 'ENQUEUED'` },
  ])('to $to writes neither checkpoint nor outcome', async ({ change }) => {
    const { goOn } = await startHeld('lost');
    // By another name, so that nobody here takes it up again.
    await ledger.query(`UPDATE dbos.workflows SET name = 'Elsewhere', ${change}`);

    goOn();
    await eventually(() => expect(app.faults.matching('dbos.write_transitions')).toHaveLength(2));
    await app.close();

    expect(await steps('lost')).toEqual([{ step_id: '0', epoch: 1 }]);
    expect(await row('lost')).toMatchObject({ output: null, error: null });
    expect((await row('lost'))?.['status']).not.toBe('SUCCESS');
  });

  it('writes nothing even where its statement carries the later run of the same workflow as well', async () => {
    const pipeline = await pipelineOfLiveExecutor();
    const record = (epoch: number, stepId: string): Promise<boolean> =>
      pipeline.record(
        { workflowId: 'twice', executorId: 'one', epoch },
        { stepId, name: 'step', attempts: 1, durationMs: 0, output: { text: '0', format: 'json' } },
      );

    const written = await Promise.all([record(1, '0'), record(2, '1')]);

    expect(written).toEqual([false, true]);
    expect(await steps('twice')).toEqual([{ step_id: '1', epoch: 2 }]);
  });

  it.each(['checkpoint', 'outcome', 'both'] as const)(
    'writes nothing by a statement of its own, here for the %s',
    async (what) => {
      const pipeline = await pipelineOfLiveExecutor();
      const stale = { workflowId: 'twice', executorId: 'one', epoch: 1 };
      const output = { text: 'stale', format: 'json' };
      const step = { stepId: '0', name: 'step', attempts: 1, durationMs: 0, output };

      const written = await Promise.all([
        ...(what === 'outcome' ? [] : [pipeline.record(stale, step)]),
        ...(what === 'checkpoint' ? [] : [pipeline.settle(stale, { status: 'SUCCESS', output })]),
      ]);

      expect(written.every((done) => !done)).toBe(true);
      expect(await steps('twice')).toEqual([]);
      expect(await row('twice')).toMatchObject({ status: 'PENDING', output: null });
    },
  );

  it('is not ended over a step that another run has recorded, not even in one statement', async () => {
    const pipeline = await pipelineOfLiveExecutor();
    await ledger.query(
      `INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, started_at)
       VALUES ('twice', '0', 'step', 1, 'json', '"theirs"', now())`,
    );
    const owner = { workflowId: 'twice', executorId: 'one', epoch: 2 };
    const output = { text: 'mine', format: 'json' };
    const step = { stepId: '0', name: 'step', attempts: 1, durationMs: 0, output };

    const recorded = await pipeline.record(owner, step);
    const written = await Promise.all([
      pipeline.record(owner, step),
      pipeline.settle(owner, { status: 'SUCCESS', output }),
    ]);

    expect([recorded, ...written]).toEqual([false, false, false]);
    expect(await row('twice')).toMatchObject({ status: 'PENDING', output: null });
  });

  it('leaves the outcome to the later run even where one statement carries the outcomes of both', async () => {
    const pipeline = await pipelineOfLiveExecutor();
    const settle = (epoch: number, text: string): Promise<boolean> =>
      pipeline.settle(
        { workflowId: 'twice', executorId: 'one', epoch },
        { status: 'SUCCESS', output: { text, format: 'json' } },
      );

    const written = await Promise.all([settle(1, 'stale'), settle(2, 'current')]);

    expect(written).toEqual([false, true]);
    expect(await row('twice')).toMatchObject({ status: 'SUCCESS', output: 'current' });
  });

  it.each([false, true])(
    'B18: hands its caller the result that another one recorded (own end an error: %s)',
    async (fails) => {
      const { result, goOn } = await startHeld('B18', fails);
      await ledger.query(RECORDED_BY_THIEF);
      const recorded = await row('B18');

      goOn();

      expect(await result).toBe('theirs');
      expect(await row('B18')).toEqual(recorded);
    },
  );

  it('B18: throws its caller the error that another one recorded', async () => {
    const failed = await app.workflows.start(TwoSteps, { workflowId: 'failed' }).run(true);
    await expect(failed.result()).rejects.toThrow('mine');
    const { result, goOn } = await startHeld('B18');
    await ledger.query(
      `UPDATE dbos.workflows w
          SET status = 'ERROR', executor_id = 'thief', epoch = w.epoch + 1, completed_at = now(),
              outcome_serialization = f.outcome_serialization, error = f.error
         FROM dbos.workflows f WHERE w.id = 'B18' AND f.id = 'failed'`,
    );

    goOn();

    await expect(result).rejects.toThrow('mine');
  });

  it('B19: tells its caller that the workflow does not exist when it was deleted, and writes nothing', async () => {
    const { result, goOn } = await startHeld('B19');
    await ledger.query('TRUNCATE dbos.workflows, dbos.steps');

    goOn();

    await expect(result).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_NOT_FOUND' });
    expect(await steps('B19')).toEqual([]);
  });

  it('B19: tells its caller when the workflow was set aside meanwhile', async () => {
    const { result, goOn } = await startHeld('B19');
    await ledger.query(
      `UPDATE dbos.workflows SET status = 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', completed_at = now()`,
    );

    goOn();

    await expect(result).rejects.toMatchObject({ code: 'DBOS_RECOVERY_ATTEMPTS_EXCEEDED' });
  });

  it('B19: lets its caller wait for the outcome of the run that the queue gave it to', async () => {
    const { result, goOn } = await startHeld('B19');
    await ledger.query(`UPDATE dbos.workflows SET status = 'ENQUEUED', executor_id = NULL`);
    await eventually(async () => expect(await ledger.counts('B19')).toMatchObject({ 'step 1': 2 }));

    goOn();

    expect(await result).toBe(TWO_RESULTS);
    expect(await steps('B19')).toEqual([
      { step_id: '0', epoch: 1 },
      { step_id: '1', epoch: 2 },
    ]);
  });

  it('begins no body while it cannot know whether its executor still lives', async () => {
    await app.close();
    app = await startApp({ leaseMs: 500 }, points);
    const between = points.stopAt('between the steps');
    const handle = await app.workflows.start(TwoSteps, { workflowId: 'doubtful' }).run();
    await between;
    const heartbeats = app.gates.holdAll('dbos.heartbeat', 'unsent');
    await eventually(() => expect(app.get(Engine).isRunning).toBe(false)); // its lease has run out
    await ledger.query(`${RECORDED_BY_THIEF}; UPDATE dbos.executors SET dead_at = now()`);

    points.goOnFrom('between the steps');
    await new Promise((resolve) => setImmediate(resolve)); // a body that begins would have begun
    heartbeats.open();

    expect(await handle.result()).toBe('theirs');
    expect(await ledger.counts('doubtful')).toEqual({ 'step 0': 1 });
  });

  it('is not taken up by an executor that cannot know whether it still lives', async () => {
    await app.close();
    app = await startApp({ leaseMs: 500 }, points);
    const heartbeats = app.gates.holdAll('dbos.heartbeat', 'unsent');
    await eventually(() => expect(app.get(Engine).isRunning).toBe(false)); // its lease has run out
    await ledger.query(
      `INSERT INTO dbos.workflows (id, name, status, serialization, input)
       VALUES ('waiting', 'TwoSteps', 'ENQUEUED', 'json', '[]')`,
    );

    await somePolls();
    expect(await row('waiting')).toMatchObject({ status: 'ENQUEUED' });
    heartbeats.open();

    expect(await app.workflows.handle('waiting').result()).toBe(TWO_RESULTS);
  });

  it('lets its caller have the outcome of the new owner although its own body still hangs', async () => {
    const { result } = await startHeld('hanging');

    await ledger.query(`${RECORDED_BY_THIEF}; UPDATE dbos.executors SET dead_at = now()`);

    expect(await result).toBe('theirs');
  });
});

describe('A run that catches every error', () => {
  async function startStubborn(): Promise<{ result: Promise<string> }> {
    const inBody = points.stopAt('step 1 done');
    const handle = await app.workflows.start(Stubborn, { workflowId: 'stubborn' }).run();
    await inBody;
    const result = handle.result();
    result.catch(() => undefined);
    return { result };
  }

  /** The last two operations know of the loss in any case. */
  const goOnToTheEnd = async (): Promise<void> => {
    points.goOnFrom('step 1 done');
    await eventually(() => expect(app.get(Stubborn).caught.length).toBeGreaterThan(1));
  };

  it('S-15: is CANCELLED all the same when it was cancelled here', async () => {
    const { result } = await startStubborn();
    await app.workflows.cancel('stubborn');
    await goOnToTheEnd();
    await expect(result).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
    await app.close();
    expect(await row('stubborn')).toMatchObject({ status: 'CANCELLED', output: null });
    expect(await ledger.counts('stubborn')).toEqual(TWO_ONCE);
  });

  it('S-15: is CANCELLED all the same when another process cancelled it', async () => {
    const { result } = await startStubborn();
    await (await startApp()).workflows.cancel('stubborn');
    await goOnToTheEnd();
    await expect(result).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
    await app.close();
    expect(await row('stubborn')).toMatchObject({ status: 'CANCELLED', output: null });
  });

  it('S-24: does not turn the loss of its workflow into a success', async () => {
    const { result } = await startStubborn();
    await ledger.query(RECORDED_BY_THIEF);
    await goOnToTheEnd();
    expect(await result).toBe('theirs');
    await app.close();
    expect(await row('stubborn')).toMatchObject({ output: '"theirs"' });
    expect(await ledger.counts('stubborn')).toEqual(TWO_ONCE);
  });
});

describe('A run that a shutdown interrupts', () => {
  it('S-24: is not ended by what it returns then, but goes on elsewhere', async () => {
    await app.workflows.start(Deaf, { workflowId: 'deaf' }).run();
    await eventually(async () => expect(await row('deaf')).toMatchObject({ status: 'PENDING' }));
    await app.close();
    expect(await row('deaf')).toMatchObject({ status: 'ENQUEUED', output: null });
  });
});

describe('A run of a live executor', () => {
  it('B16: is not taken from it however often others look for the dead', async () => {
    await app.close();
    app = await startApp({ leaseMs: 3_000 }, points);
    const { result, goOn } = await startHeld('B16');
    const beats = (): number => app.faults.matching('dbos.heartbeat').length;
    const { executors, queues } = (await startApp()).app.get(CheckpointRepository);
    await executors.register({ id: 'watcher', leaseMs: 10_000, hostname: 'elsewhere', pid: 1 });

    for (const twoLeasesLater = beats() + 7; beats() < twoLeasesLater;) {
      const { dead } = await executors.heartbeat('watcher', {
        withinMs: 1_000,
        mayDeclare: () => true,
      });
      await queues.requeue({ executorIds: dead, countsAsRecovery: true });
    }
    goOn();

    expect(await result).toBe(TWO_RESULTS);
    expect(await ledger.counts('B16')).toEqual(TWO_ONCE);
    expect(await row('B16')).toMatchObject({ epoch: 1, recovery_attempts: 0 });
  });

  it('is not taken by another one that was cut off from the database together with its own', async () => {
    await app.close();
    // Whoever is back first gives the others a lease to come back, which is long for a machine that is busy.
    app = await startApp({ leaseMs: 3_000 }, points);
    const other = await startApp({ leaseMs: 3_000 });
    const cutOff = new Set([app, other]);
    for (const each of cutOff) {
      each.gates.onEach((sql) => {
        if (cutOff.has(each) && sql.includes('dbos.heartbeat')) throw connectionError();
      });
    }
    const { result, goOn } = await startHeld('cut off');
    const isRunning = (each: GatedApp): boolean => each.get(Engine).isRunning;
    await eventually(() => expect([app, other].map(isRunning)).toEqual([false, false]));

    cutOff.delete(other); // the first to come back
    await eventually(() => expect(isRunning(other)).toBe(true));
    cutOff.delete(app);
    await eventually(() => expect(isRunning(app)).toBe(true));
    goOn();

    expect(await result).toBe(TWO_RESULTS);
    expect(await row('cut off')).toMatchObject({ epoch: 1, recovery_attempts: 0 });
    expect(await ledger.counts('cut off')).toEqual(TWO_ONCE);
  });

  it('B3: is one, even when two executors claim its workflow at the same moment', async () => {
    const claims = app.gates.holdAll('dbos.claim_workflows', 'unsent');
    await claims.reached;
    await app.app
      .get(CheckpointRepository)
      .executors.register({ id: 'rival', leaseMs: 60_000, hostname: 'elsewhere', pid: 1 });
    await ledger.query(
      `INSERT INTO dbos.workflows (id, name, status, serialization, input)
       VALUES ('contested', 'TwoSteps', 'ENQUEUED', 'json', '[]')`,
    );
    await ledger.query(
      `BEGIN; UPDATE dbos.workflows SET status = 'PENDING', executor_id = 'rival', epoch = epoch + 1`,
    );

    claims.open();
    try {
      await eventually(() =>
        expect(app.faults.matching('dbos.claim_workflows').length).toBeGreaterThan(3),
      );
    } finally {
      await ledger.query('COMMIT');
    }
    await app.close();

    expect(await row('contested')).toMatchObject({ executor_id: 'rival', epoch: 1 });
    expect(await ledger.counts('contested')).toEqual({});
  });

  it('B3: is one, even when its claim is handed over twice', async () => {
    const { result, goOn } = await startHeld('B3');
    const { parts, executorId } = app.get(Engine) as unknown as Internals;
    const { executor } = parts;
    const input = { text: '[false]', format: 'json' };

    executor.execute(
      {
        id: 'B3',
        name: 'TwoSteps',
        executorId,
        epoch: 1,
        recoveryAttempts: 0,
        failures: 0,
        queue: null,
        input,
        deadline: null,
        context: null,
      },
      [],
    );
    goOn();

    expect(await result).toBe(TWO_RESULTS);
    expect(await ledger.counts('B3')).toEqual(TWO_ONCE);
  });

  it('B17: is not moved by a late recovery of the dead executor that had it before', async () => {
    const victim = await startApp({}, points);
    const begun = points.stopAt('step 1 begun');
    await victim.workflows.start(TwoSteps, { workflowId: 'B17' }).run();
    await begun;
    await victim.kill();
    points.goOnFrom('step 1 begun');
    const held = points.stopAt('step 1 done');
    await ledger.query('UPDATE dbos.workflows SET executor_id = $1', ['X']);
    const { queues } = app.app.get(CheckpointRepository);
    await queues.requeue({ executorIds: ['X'], countsAsRecovery: true });
    await held;

    const moved = await queues.requeue({ executorIds: ['X'], countsAsRecovery: true });

    expect(moved).toEqual([]);
    points.goOnFrom('step 1 done');
    expect(await app.workflows.handle('B17').result()).toBe(TWO_RESULTS);
    expect(await row('B17')).toMatchObject({ epoch: 2, recovery_attempts: 1 });
  });

  it('B17: is not taken by a recovery that began while it was declared dead and goes on after it came back', async () => {
    await app.close();
    app = await startApp({ executorId: 'revenant', leaseMs: 3_000 }, points);
    const other = await startApp();
    const heartbeats = app.gates.holdAll('dbos.heartbeat', 'unsent');
    await heartbeats.reached;
    const recovery = other.gates.hold('recovery_attempts +', 'unsent');
    await ledger.query(`UPDATE dbos.executors SET dead_at = now() WHERE name = 'revenant'`);
    await recovery.reached;
    heartbeats.open();
    await eventually(async () =>
      expect(
        await ledger.query(
          `SELECT FROM dbos.executors WHERE name = 'revenant' AND dead_at IS NULL`,
        ),
      ).toHaveLength(1),
    );
    await eventually(() => expect(app.get(Engine).isRunning).toBe(true)); // it has heard that it is back
    const { result, goOn } = await startHeld('fresh');

    recovery.open();
    await eventually(() => expect(other.faults.matching('DELETE FROM dbos.exec')).not.toEqual([]));
    goOn();

    expect(await result).toBe(TWO_RESULTS);
    expect(await row('fresh')).toMatchObject({ epoch: 1, recovery_attempts: 0 });
    expect(await ledger.counts('fresh')).toEqual(TWO_ONCE);
  });

  it('is not taken for a stray when it starts while strays are being looked for', async () => {
    const strays = app.gates.hold('recovery_attempts +', 'unsent');
    app.faults.failNext('dbos.claim_workflows');
    await strays.reached;
    const handle = await app.workflows.start(TwoSteps, { workflowId: 'newcomer' }).run();

    strays.open();

    expect(await handle.result()).toBe(TWO_RESULTS);
    expect(await row('newcomer')).toMatchObject({ epoch: 1, recovery_attempts: 0 });
    expect(await ledger.counts('newcomer')).toEqual(TWO_ONCE);
  });

  it('is not taken for a stray by a search that was given up and comes late', async () => {
    await app.close();
    app = await startApp({ statementTimeoutMs: 1_000 }, points);
    const late = app.gates.hold('recovery_attempts +', 'unsent');
    app.faults.failNext('dbos.claim_workflows');
    await late.reached;
    await eventually(() => expect(app.faults.matching('recovery_attempts +')).not.toEqual([]));
    const claims = app.faults.matching('dbos.claim_workflows').length;
    await eventually(() =>
      expect(app.faults.matching('dbos.claim_workflows').length).toBeGreaterThan(claims),
    );
    const { result, goOn } = await startHeld('newcomer');

    const carriedOut = app.gates.hold('recovery_attempts +', 'committed');
    late.open();
    await carriedOut.reached;
    carriedOut.open();
    goOn();

    expect(await result).toBe(TWO_RESULTS);
    expect(await row('newcomer')).toMatchObject({ epoch: 1, recovery_attempts: 0 });
    expect(await ledger.counts('newcomer')).toEqual(TWO_ONCE);
  });

  it('is not sent back when it starts while its executor, declared dead, joins again', async () => {
    await app.close();
    app = await startApp({ leaseMs: 500 }, points);
    const joining = app.gates.hold('INSERT INTO dbos.executors', 'committed');
    await ledger.query('UPDATE dbos.executors SET dead_at = now()');
    await joining.reached;
    const handle = await app.workflows.start(TwoSteps, { workflowId: 'newcomer' }).run();

    joining.open();

    expect(await handle.result()).toBe(TWO_RESULTS);
    expect(await row('newcomer')).toMatchObject({ epoch: 1, recovery_attempts: 0 });
    expect(await ledger.counts('newcomer')).toEqual(TWO_ONCE);
  });

  it('begins no body when the answer to its start comes after the shutdown, and goes on elsewhere', async () => {
    const start = app.gates.hold('dbos.start_workflows', 'committed');
    const starting = app.workflows.start(TwoSteps, { workflowId: 'late' }).run();
    starting.catch(() => undefined);
    await start.reached;
    await app.close();

    start.open();
    await starting.catch(() => undefined);
    const other = await startApp();

    expect(await other.workflows.handle('late').result()).toBe(TWO_RESULTS);
    expect(await ledger.counts('late')).toEqual(TWO_ONCE);
  });
});
