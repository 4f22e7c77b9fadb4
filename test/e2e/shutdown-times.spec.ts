// How long a shutdown takes: what it waits for, and what it does not wait for longer than it was told to.
import { setTimeout as delay } from 'node:timers/promises';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createTestDatabase } from '../support/database.js';
import {
  begun,
  BOUND_MS,
  Errand,
  ErrandApps,
  inFirstStep,
  Journal,
  type ErrandApp,
} from '../support/errand-apps.js';
import { eventually } from '../support/eventually.js';
import { startGatedApp } from '../support/gated-app.js';

describe('A shutdown', () => {
  let apps: ErrandApps;

  beforeAll(async () => {
    apps = await ErrandApps.open();
  });

  afterEach(() => apps.endAll());

  afterAll(() => apps.close());

  it('B40: waits drainMs for a workflow that does not end, and leaves it unfinished', async () => {
    const first = await apps.start();
    await inFirstStep(first, 'B40 blocked');

    const startedAt = performance.now();
    await first.app.get(Engine).shutdown({ drainMs: 300, graceMs: 0 });

    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(299);
    const second = await apps.start();
    expect(await second.workflows.handle('B40 blocked').result()).toBe('second');
  });

  it('B40: drains running workflows to their end, steps and all', async () => {
    const first = await apps.start({ options: { shutdown: { drainMs: 50_000 } } });
    await inFirstStep(first, 'B40 drained');

    const startedAt = performance.now();
    const closing = first.app.close();
    first.journal.open('first');
    await closing;

    expect(performance.now() - startedAt).toBeLessThan(25_000); // and not for all of drainMs
    expect(begun(first.journal)).toEqual(['first begins', 'second begins']);
  });

  it('B40: waits for a child that is started during the drain', async () => {
    const first = await apps.start({ options: { shutdown: { drainMs: 50_000 } } });
    first.journal.shut('first');
    const handle = await first.workflows.start(Errand, { workflowId: 'B40 parent' }).parent();
    await eventually(() => expect(begun(first.journal)).toEqual(['first begins']));
    const result = handle.result();

    const closing = first.app.close();
    first.journal.open('first');
    await closing;

    expect(await result).toBe('second');
  });

  /** A parent in its first step, in an application that is draining while its last claim, which took something, is on its way. */
  async function drainingWithLateClaim() {
    const journal = new Journal();
    journal.shut('first');
    const app = await startGatedApp({
      url: apps.url,
      providers: [{ provide: Journal, useValue: journal }, Errand],
      options: { shutdown: { drainMs: 50_000 } },
    });
    const handle = await app.workflows.start(Errand).parent();
    await journal.until('first begins');
    const sent = app.gates.hold('claim_workflows', 'unsent');
    await sent.reached;
    await apps.observer.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, serialization, input)
      VALUES ('B40 taken', 'Errand.run', 'ENQUEUED', 'json', '[]')`;
    const claim = app.gates.hold('claim_workflows', 'committed');
    sent.open();
    await claim.reached;
    const closing = app.close();
    await eventually(() => expect(app.get(Engine).isRunning).toBe(false));
    return { app, journal, handle, claim, closing };
  }

  it('B40: begins a child that is started while what a late claim took is given back', async () => {
    const { app, journal, handle, claim, closing } = await drainingWithLateClaim();
    const givingBack = app.gates.hold('orphan.executor_id', 'unsent');

    claim.open();
    await givingBack.reached;
    journal.open('first');

    expect(await handle.result()).toBe('second');
    givingBack.open();
    await closing;
    expect(
      await apps.observer
        .$queryRaw`SELECT status, executor_id FROM dbos.workflows WHERE id = 'B40 taken'`,
    ).toEqual([{ status: 'ENQUEUED', executor_id: null }]);
  });

  it('B40: gives back what a late claim took, and nothing that runs', async () => {
    const { app, journal, handle, claim, closing } = await drainingWithLateClaim();
    const givenBack = app.gates.hold('orphan.executor_id', 'committed');

    claim.open();
    await givenBack.reached;

    expect(
      await apps.observer
        .$queryRaw`SELECT id, status FROM dbos.workflows ORDER BY id = 'B40 taken'`,
    ).toEqual([
      { id: handle.workflowId, status: 'PENDING' },
      { id: 'B40 taken', status: 'ENQUEUED' },
    ]);
    givenBack.open();
    journal.open('first');
    await closing;
  });

  it('B40: claims nothing new during the drain, although there are free slots', async () => {
    const first = await apps.start({ options: { maxConcurrentWorkflows: 2 } });
    first.journal.shut('deaf');
    const ending = await first.workflows.start(Errand).stubborn();
    await inFirstStep(first, 'B40 running');
    await first.workflows.start(Errand, { workflowId: 'B40 waiting' }).run();

    const draining = first.app.get(Engine).shutdown({ drainMs: 10_000 });
    first.journal.open('deaf');
    await ending.result();
    await apps.timeForMuch(); // time enough for a claim to be made and its first step to begin
    first.journal.open('first');
    await draining;

    expect(begun(first.journal).filter((entry) => entry === 'first begins')).toHaveLength(1);
    expect(
      await apps.observer.$queryRaw`SELECT status FROM dbos.workflows WHERE id = 'B40 waiting'`,
    ).toEqual([{ status: 'ENQUEUED' }]);
  });

  it.each([-1, Number.NaN, Infinity, '5s' as unknown as number])(
    'B40: refuses a drainMs of %p and stays up',
    async (drainMs) => {
      const { app, workflows } = await apps.start();
      const stopping = async (): Promise<void> => app.get(Engine).shutdown({ drainMs });
      await expect(stopping()).rejects.toMatchObject({
        code: 'DBOS_INVALID_ARGUMENT',
        message: expect.stringContaining('shutdown.drainMs'),
      });
      expect(await workflows.execute(Errand).run()).toBe('second');
    },
  );

  it('B40: refuses unusable times when the application is put together', async () => {
    await expect(apps.start({ options: { shutdown: { graceMs: -5 } } })).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
      message: expect.stringContaining('shutdown.graceMs'),
    });
  });

  it.each<[string, (engine: Engine) => Promise<void>]>([
    ['while it runs', () => Promise.resolve()],
    ['during its shutdown', () => Promise.resolve()],
    ['after its shutdown', (engine) => engine.shutdown()],
  ])('B40: refuses to launch an engine again %s', async (when, prepare) => {
    const engine = (await apps.start()).app.get(Engine);
    await prepare(engine);
    const stopping = when === 'during its shutdown' ? engine.shutdown() : undefined;
    await expect(engine.launch()).rejects.toMatchObject({ code: 'DBOS_NOT_RUNNING' });
    await stopping;
  });

  it('B40: two shutdowns at the same time wait once, each of them until the end', async () => {
    const first = await apps.start();
    await inFirstStep(first, 'B40 twice');
    const engine = first.app.get(Engine);
    const startedAt = performance.now();
    const timed = async (stopping: Promise<void>): Promise<number> => {
      await stopping;
      return performance.now() - startedAt;
    };

    const drainMs = 4_000;
    const durations = await Promise.all([
      timed(engine.shutdown({ drainMs, graceMs: 0 })),
      timed(engine.shutdown({ drainMs, graceMs: 0 })),
      timed(first.app.close()),
    ]);

    expect(Math.min(...durations)).toBeGreaterThanOrEqual(drainMs - 1);
    expect(Math.max(...durations)).toBeLessThan(2 * drainMs);
  });

  describe('without the database', () => {
    const options = {
      databasePatienceMs: 20_000, // of the start, while there is a database
      statementTimeoutMs: 500,
      shutdown: { graceMs: 100 },
    };

    async function losesDatabase(
      how: 'refusing' | 'silent',
      workflowId?: string,
    ): Promise<ErrandApp> {
      const nestApp = await apps.start({ options });
      if (workflowId) await inFirstStep(nestApp, workflowId);
      nestApp.database.state = how;
      nestApp.journal.open('first');
      await eventually(() => expect(nestApp.database.refused).toBeGreaterThan(3));
      return nestApp;
    }

    async function losesItForGood(): Promise<ErrandApp> {
      const doomed = await createTestDatabase();
      const nestApp = await apps.start({ url: doomed.url, options });
      await inFirstStep(nestApp, 'dropped');
      await doomed.drop();
      nestApp.journal.open('first');
      return nestApp;
    }

    it('shuts down within a bound, whatever has become of the database and of the work', async () => {
      const nestApps = {
        'idle, refused': await losesDatabase('refusing'),
        'idle, unanswered': await losesDatabase('silent'),
        'working, refused': await losesDatabase('refusing', 'refused'),
        'working, unanswered': await losesDatabase('silent', 'unanswered'),
        'working, dropped': await losesItForGood(),
      };
      const open = new Set(Object.keys(nestApps));

      const closings = Object.entries(nestApps).map(async ([name, { app }]) => {
        await app.close();
        open.delete(name);
      });
      await Promise.race([Promise.all(closings), delay(BOUND_MS, undefined, { ref: false })]);

      expect([...open]).toEqual([]);
    });

    it('goes on by itself when the database comes back', async () => {
      const first = await losesDatabase('refusing', 'back');
      first.database.state = 'up';
      expect(await first.workflows.handle('back').result()).toBe('second');
    });
  });
});
