// How long workflows may take: timeouts and deadlines, by the database's clock, whoever runs them.
import { jest } from '@jest/globals';
import { Injectable, type Provider } from '@nestjs/common';
import {
  DbosModule,
  Queue,
  ScheduleService,
  Workflow,
  WorkflowContext,
  WorkflowService,
  getQueueToken,
  type StartOptions,
  type WorkflowHandle,
} from 'nestjs-dbos';
import { deferred, type Deferred } from '../../libs/dbos/src/core/deferred.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { eventually } from '../support/eventually.js';
import { NestApps, type NestApp, type NestAppSettings } from '../support/nest-app.js';

/** What bodies do and see; a body waits until the test lets it go, or its signal is aborted. */
@Injectable()
class Desk {
  readonly bodies: string[] = [];
  readonly reasons: unknown[] = [];
  readonly open = new Map<string, Deferred<string>>();
  /** Whether bodies go on whatever their signal says. */
  isDeaf = false;

  async wait(id: string, signal: AbortSignal): Promise<string> {
    this.bodies.push(id);
    const paper = deferred<string>();
    this.open.set(id, paper);
    signal.addEventListener('abort', () => {
      this.reasons.push(signal.reason);
      if (!this.isDeaf) paper.reject(signal.reason as Error);
    });
    return paper.promise;
  }

  letGo(id: string): void {
    this.open.get(id)?.resolve('signed');
  }
}

interface Task {
  readonly child?: StartOptions;
  readonly stepTimeoutMs?: number;
}

@Injectable()
class Signing {
  constructor(
    private readonly desk: Desk,
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  @Workflow({ name: 'Signing' })
  async run({ stepTimeoutMs }: Task = {}): Promise<string> {
    const id = this.flow.workflowId;
    return this.flow.step('sign', ({ signal }) => this.desk.wait(id, signal), {
      maxRetries: 3,
      ...(stepTimeoutMs !== undefined && { timeoutMs: stepTimeoutMs }),
    });
  }

  /** Starts a child and waits beside it. */
  @Workflow({ name: 'Parent' })
  async parent({ child = {} }: Task = {}): Promise<string> {
    const id = this.flow.workflowId;
    await this.workflows.start(Signing, { workflowId: `${id} child`, ...child }).run();
    return this.run();
  }

  @Workflow({ name: 'Sleeping' })
  async sleep(): Promise<void> {
    await this.flow.sleep('1h');
  }
}

const MONTH_MS = 30 * 24 * 3_600_000;
const LATE = { code: 'DBOS_WORKFLOW_CANCELLED', reason: 'deadline' };

describe('A time limit', () => {
  let apps: NestApps;
  const opened: NestApp[] = [];

  beforeAll(async () => {
    apps = await NestApps.open();
  });

  afterEach(async () => {
    const [app] = opened.splice(0);
    if (app) await app.prisma.$executeRaw`TRUNCATE dbos.workflows, dbos.steps`;
    await apps.endAll();
  });

  afterAll(() => apps.close());

  async function start(
    settings: Partial<NestAppSettings> = {},
    providers: Provider[] = [],
  ): Promise<NestApp> {
    const queue = DbosModule.registerQueue({ name: 'desk', concurrency: 1 });
    const app = await apps.start([Desk, Signing, ...providers], { after: [queue], ...settings });
    opened.unshift(app);
    return app;
  }

  const deskOf = ({ app }: NestApp): Desk => app.get(Desk);

  const queueOf = ({ app }: NestApp): Queue => app.get(getQueueToken('desk'), { strict: false });

  async function isAt(nestApp: NestApp, { workflowId }: WorkflowHandle): Promise<void> {
    await eventually(() => expect(deskOf(nestApp).open.has(workflowId)).toBe(true));
  }

  it('B33: cancels a workflow that takes longer, and says why', async () => {
    const { workflows } = await start();
    const handle = await workflows.start(Signing, { timeout: 100 }).run();

    await expect(handle.result()).rejects.toMatchObject(LATE);

    const { status, cancelReason, timeoutMs, deadline, startedAt } = await handle.status();
    expect({ status, cancelReason, timeoutMs }).toEqual({
      status: 'CANCELLED',
      cancelReason: 'deadline',
      timeoutMs: 100,
    });
    expect(Math.abs(deadline!.getTime() - startedAt!.getTime() - 100)).toBeLessThan(1_000);
  });

  it('B33: aborts the signal of the step that is running, with the reason', async () => {
    const app = await start();
    const handle = await app.workflows.start(Signing, { timeout: 500 }).run();
    await isAt(app, handle);

    await expect(handle.result()).rejects.toMatchObject(LATE);

    await eventually(() =>
      expect(deskOf(app).reasons).toMatchObject([
        { code: 'DBOS_RUN_CANCELLED', reason: 'deadline' },
      ]),
    );
  });

  it('B33: wins over the timeout of a step: one attempt, and nothing of it is recorded', async () => {
    const app = await start();
    const options = { timeout: 500, workflowId: 'two limits' };
    const handle = await app.workflows.start(Signing, options).run({ stepTimeoutMs: 60_000 });
    await isAt(app, handle);

    await expect(handle.result()).rejects.toMatchObject(LATE);

    expect(deskOf(app).bodies).toEqual(['two limits']);
    expect(await app.workflows.steps('two limits')).toEqual([]);
  });

  it('S-31: ends it for whoever awaits it although a body ignores its signal', async () => {
    const app = await start();
    deskOf(app).isDeaf = true;
    const handle = await app.workflows.start(Signing, { timeout: 1_000 }).run();
    await isAt(app, handle);

    await expect(handle.result()).rejects.toMatchObject(LATE);

    deskOf(app).letGo(handle.workflowId);
    await eventually(() => expect(app.app.get(Engine)['parts'].executor.running).toEqual([]));
    expect(await handle.status()).toMatchObject({ status: 'CANCELLED' });
  });

  it('leaves a workflow alone that ends in time', async () => {
    const app = await start();
    const handle = await app.workflows.start(Signing, { timeout: 1_500 }).run();
    await isAt(app, handle);
    deskOf(app).letGo(handle.workflowId);
    expect(await handle.result()).toBe('signed');

    const late = await app.workflows.start(Signing, { timeout: 1_700 }).run();
    await expect(late.result()).rejects.toMatchObject(LATE); // by now the first would have been cancelled as well

    expect(await handle.status()).toMatchObject({ status: 'SUCCESS', cancelReason: null });
  });

  it('B34: is inherited by a child as the same moment', async () => {
    const app = await start();
    const deadline = new Date(Date.now() + 1_500);
    const parent = await app.workflows.start(Signing, { workflowId: 'B34', deadline }).parent();
    const child = app.workflows.handle('B34 child');
    await isAt(app, child);

    expect((await child.status()).deadline).toEqual((await parent.status()).deadline);
    expect((await child.status()).deadline).toEqual(deadline);
    await expect(parent.result()).rejects.toMatchObject(LATE);
    await expect(child.result()).rejects.toMatchObject(LATE);
  });

  it('B34: is inherited as the moment to which the timeout of the parent came', async () => {
    const app = await start();
    const options = { workflowId: 'B34 timeout', timeout: 5_000 };
    const parent = await app.workflows.start(Signing, options).parent();
    const child = app.workflows.handle('B34 timeout child');
    await isAt(app, child);

    expect((await child.status()).deadline).toEqual((await parent.status()).deadline);
    expect((await child.status()).timeoutMs).toBeNull();
  });

  it('B34: is inherited by a child that is enqueued, from a parent that waited on a queue itself', async () => {
    @Injectable()
    class Enqueuing {
      constructor(
        private readonly flow: WorkflowContext,
        private readonly workflows: WorkflowService,
      ) {}

      @Workflow({ name: 'Enqueuing' })
      async run(): Promise<void> {
        const options = { queue: 'desk', workflowId: 'B34 enqueued' };
        await this.workflows.enqueue(Signing, options).run();
        await this.flow.sleep(5_000);
      }
    }
    const after = [DbosModule.registerQueue({ name: 'desk', concurrency: 2 })];
    const app = await start({ after }, [Enqueuing]);
    const parent = await queueOf(app).enqueue(Enqueuing, { timeout: '1h' }).run();
    const child = app.workflows.handle('B34 enqueued');
    await isAt(app, child);

    const { deadline } = await parent.status();
    expect(deadline).toBeInstanceOf(Date);
    expect((await child.status()).deadline).toEqual(deadline);
  });

  it('B34: is overruled by that of the child', async () => {
    const app = await start();
    const task = { child: { timeout: '1h' as const } };
    await app.workflows.start(Signing, { workflowId: 'B34 own', timeout: 1_000 }).parent(task);
    const child = app.workflows.handle('B34 own child');
    await isAt(app, child);
    await expect(app.workflows.handle('B34 own').result()).rejects.toMatchObject(LATE);

    deskOf(app).letGo(child.workflowId);

    expect(await child.result()).toBe('signed');
  });

  it.each([{ timeout: null }, { deadline: null }])(
    'B34: is not inherited by a child that is detached with %j',
    async (child) => {
      const app = await start();
      const workflowId = `B34 ${JSON.stringify(child)}`;
      await app.workflows.start(Signing, { workflowId, timeout: 1_000 }).parent({ child });
      const detached = app.workflows.handle(`${workflowId} child`);
      await isAt(app, detached);
      await expect(app.workflows.handle(workflowId).result()).rejects.toMatchObject(LATE);
      expect((await detached.status()).deadline).toBeNull();

      deskOf(app).letGo(detached.workflowId);

      expect(await detached.result()).toBe('signed');
    },
  );

  it('B35: begins for a workflow on a queue when it is claimed', async () => {
    const app = await start();
    const busy = await queueOf(app).enqueue(Signing).run();
    await isAt(app, busy);
    const handle = await queueOf(app).enqueue(Signing, { timeout: 1_500 }).run();
    expect(await handle.status()).toMatchObject({ status: 'ENQUEUED', deadline: null });

    deskOf(app).letGo(busy.workflowId);
    await isAt(app, handle);

    const { deadline, startedAt } = await handle.status();
    expect(Math.abs(deadline!.getTime() - startedAt!.getTime() - 1_500)).toBeLessThan(50);
    await expect(handle.result()).rejects.toMatchObject(LATE);
  });

  it('S-32: begins for a workflow that is delayed after the delay, when it is claimed', async () => {
    const app = await start();
    const handle = await queueOf(app).enqueue(Signing, { delay: 300, timeout: 1_500 }).run();
    expect(await handle.status()).toMatchObject({ status: 'DELAYED', deadline: null });

    await isAt(app, handle);

    const { deadline, startedAt } = await handle.status();
    expect(Math.abs(deadline!.getTime() - startedAt!.getTime() - 1_500)).toBeLessThan(50);
  });

  it('B35: may pass while the workflow waits on its queue, when it is a moment', async () => {
    const app = await start();
    await queueOf(app).pause();
    const deadline = new Date(Date.now() + 200);
    const handle = await queueOf(app).enqueue(Signing, { deadline }).run();

    await expect(handle.result()).rejects.toMatchObject(LATE);

    await queueOf(app).resume();
    expect(deskOf(app).bodies).toEqual([]);
  });

  it('B35: begins for what is debounced when it is claimed, and is that of the last call', async () => {
    const app = await start();
    const options = { key: 'letter', periodMs: 300 };
    await app.workflows.debounce(Signing, { ...options, timeout: MONTH_MS }).run();
    const handle = await app.workflows.debounce(Signing, { ...options, timeout: 1_500 }).run();
    expect(await handle.status()).toMatchObject({ status: 'DELAYED', deadline: null });

    await isAt(app, handle);

    const { deadline, startedAt } = await handle.status();
    expect(Math.abs(deadline!.getTime() - startedAt!.getTime() - 1_500)).toBeLessThan(50);
    await expect(handle.result()).rejects.toMatchObject(LATE);
  });

  it('B35: may pass while the workflow is put off, when it is a moment, and is looked at then', async () => {
    const app = await start();
    const expected = jest.spyOn(app.app.get(Engine)['parts'].deadlines, 'expect');
    const options = { key: 'letter', periodMs: MONTH_MS, deadline: new Date(Date.now() + 200) };
    const handle = await app.workflows.debounce(Signing, options).run();

    await expect(handle.result()).rejects.toMatchObject(LATE);

    expect(deskOf(app).bodies).toEqual([]);
    expect(expected).toHaveBeenCalledWith(options.deadline);
  });

  it('B35: begins for what a schedule starts when it is claimed', async () => {
    const app = await start();
    const schedules = app.app.get(ScheduleService);
    const settings = { workflow: 'Signing', cron: '@yearly', queue: 'desk', timeout: 1_500 };
    await schedules.create({ name: 'contract', ...settings });
    await queueOf(app).pause();
    const handle = await schedules.trigger('contract');
    expect(await handle.status()).toMatchObject({ status: 'ENQUEUED', deadline: null });

    await queueOf(app).resume();
    await isAt(app, handle);

    const { deadline, startedAt } = await handle.status();
    expect(Math.abs(deadline!.getTime() - startedAt!.getTime() - 1_500)).toBeLessThan(50);
    await expect(handle.result()).rejects.toMatchObject(LATE);
  });

  it('B35: stays what it was when the workflow is recovered', async () => {
    const dying = await start();
    const handle = await queueOf(dying).enqueue(Signing, { timeout: '1h' }).run();
    await isAt(dying, handle);
    const { deadline } = await handle.status();
    const { executorId } = dying.app.get(Engine);
    await dying.prisma.$executeRaw`
      UPDATE dbos.executors SET dead_at = now() WHERE id = ${executorId}`;

    const heir = await start();
    await eventually(async () =>
      expect((await heir.workflows.handle(handle.workflowId).status()).executorId).not.toBe(
        executorId,
      ),
    );

    expect((await heir.workflows.handle(handle.workflowId).status()).deadline).toEqual(deadline);
  });

  it('B36: of thirty days neither fires early nor overflows a timer', async () => {
    const warnings: string[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning.name);
    process.on('warning', onWarning);
    const app = await start();
    const handle = await app.workflows.start(Signing, { timeout: '30d' }).run();
    const late = await app.workflows.start(Signing, { timeout: 100 }).run();
    await expect(late.result()).rejects.toMatchObject(LATE); // the same loop has looked meanwhile

    const { status, deadline } = await handle.status();
    process.off('warning', onWarning);

    expect(status).toBe('PENDING');
    expect(deadline!.getTime()).toBeGreaterThan(Date.now() + MONTH_MS - 60_000);
    expect(warnings).toEqual([]);
  });

  it('passes for a workflow that sleeps in the database', async () => {
    const { workflows } = await start({ options: { parkAfterMs: 0 } });
    const handle = await workflows.start(Signing, { timeout: 400 }).sleep();
    await eventually(async () => expect((await handle.status()).status).toBe('DELAYED'));

    await expect(handle.result()).rejects.toMatchObject(LATE);
  });

  it('that has passed before the workflow could begin lets no body begin', async () => {
    const app = await start();
    const handle = await app.workflows.start(Signing, { deadline: new Date(0) }).run();

    await expect(handle.result()).rejects.toMatchObject(LATE);

    expect(deskOf(app).bodies).toEqual([]);
  });

  it('that has passed while no process was there lets no body begin', async () => {
    const before = await start();
    await queueOf(before).pause();
    const options = { timeout: '1h', workflowId: 'overdue' } as const;
    const handle = await queueOf(before).enqueue(Signing, options).run();
    await before.close();
    const after = await start({ options: { runWorkflows: false } });
    await after.prisma.$executeRaw`
      UPDATE dbos.workflows SET deadline = now() - interval '1 minute' WHERE id = ${handle.workflowId}`;
    await queueOf(after).resume();

    const runner = await start();

    await expect(runner.workflows.handle('overdue').result()).rejects.toMatchObject(LATE);
    expect(deskOf(runner).bodies).toEqual([]);
  });

  it('is kept by other processes when the owner does not', async () => {
    const owner = await start();
    const handle = await owner.workflows.start(Signing, { timeout: 300 }).run();
    owner.app.get(Engine)['parts'].deadlines.halt();
    const other = await start({ options: { runWorkflows: false } });

    await expect(other.workflows.handle(handle.workflowId).result()).rejects.toMatchObject(LATE);
  });

  it('is noticed by its owner when another process was the first to cancel', async () => {
    const app = await start({ options: { pollIntervalMs: 60_000 } });
    const handle = await app.workflows.start(Signing, { timeout: 1_500 }).run();
    await isAt(app, handle);
    await app.prisma.$executeRaw`
      UPDATE dbos.workflows SET deadline = now() WHERE id = ${handle.workflowId}`;
    await app.prisma.$queryRaw`SELECT id FROM dbos.expire_workflows(100)`;

    await eventually(() => expect(deskOf(app).reasons).toMatchObject([{ reason: 'deadline' }]));
  });

  it('is noticed by its owner also when that finds its clock set back meanwhile', async () => {
    const app = await start({ options: { pollIntervalMs: 60_000 } });
    const handle = await app.workflows.start(Signing, { timeout: 1_500 }).run();
    await isAt(app, handle);
    const { time } = app.app.get(Engine)['parts'].common;
    const nowMs = time.nowMs.bind(time);
    time.nowMs = () => nowMs() - 300;
    await app.prisma.$executeRaw`
      UPDATE dbos.workflows SET deadline = now() WHERE id = ${handle.workflowId}`;
    await app.prisma.$queryRaw`SELECT id FROM dbos.expire_workflows(100)`;

    await eventually(() => expect(deskOf(app).reasons).toMatchObject([{ reason: 'deadline' }]));
  });

  it('begins anew when what it has cancelled is resumed', async () => {
    const app = await start();
    const handle = await app.workflows.start(Signing, { timeout: 300 }).run();
    await expect(handle.result()).rejects.toMatchObject(LATE);
    const { deadline: former } = await handle.status();

    expect(await handle.resume()).toBe(true);
    await eventually(async () => expect((await handle.status()).status).toBe('PENDING'));

    const { deadline, cancelReason, timeoutMs } = await handle.status();
    expect(deadline!.getTime()).toBeGreaterThan(former!.getTime());
    expect({ cancelReason, timeoutMs }).toEqual({ cancelReason: null, timeoutMs: 300 });
    await expect(handle.result()).rejects.toMatchObject(LATE);
  });

  it('is over for what is resumed after its deadline', async () => {
    const app = await start();
    const deadline = new Date(Date.now() + 200);
    const handle = await app.workflows.start(Signing, { deadline }).run();
    await expect(handle.result()).rejects.toMatchObject(LATE);
    deskOf(app).open.clear();

    await handle.resume();
    await isAt(app, handle);
    deskOf(app).letGo(handle.workflowId);

    expect(await handle.result()).toBe('signed');
    expect((await handle.status()).deadline).toBeNull();
  });

  it('is on record when it has passed', async () => {
    const { workflows } = await start();
    const handle = await workflows.start(Signing, { timeout: 50 }).run();
    await expect(handle.result()).rejects.toMatchObject(LATE);
    expect(await workflows.actions(handle.workflowId)).toMatchObject([
      { action: 'timedOut', by: null },
    ]);
  });

  it.each<StartOptions>([
    { timeout: 0 },
    { timeout: -5 },
    { timeout: Number.NaN },
    { timeout: Number.POSITIVE_INFINITY },
    { timeout: 1e16 },
    { timeout: 'soon' as never },
    { deadline: new Date(Number.NaN) },
    { deadline: 1_000 as never },
    { timeout: 1_000, deadline: new Date() },
  ])('is refused as %p', async (options) => {
    const app = await start();
    await expect(app.workflows.start(Signing, options).run()).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
    await expect(queueOf(app).enqueue(Signing, options).run()).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
    const debounced = app.workflows.debounce(Signing, { key: 'k', periodMs: 1, ...options }).run();
    await expect(debounced).rejects.toMatchObject({ code: 'DBOS_INVALID_ARGUMENT' });
  });
});
