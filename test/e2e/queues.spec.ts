// Queues in one process: how workflows wait on them, in which order they come, and what holds them back.
import { Injectable, Module } from '@nestjs/common';
import {
  DbosModule,
  InjectQueue,
  Queue,
  Step,
  Workflow,
  WorkflowContext,
  getQueueToken,
  type QueueOptions,
  type WorkflowHandle,
} from 'nestjs-dbos';
import { deferred, type Deferred } from '../../libs/dbos/src/core/deferred.js';
import { eventually } from '../support/eventually.js';
import { NestApps, type NestApp, type NestAppSettings } from '../support/nest-app.js';

/** Parcels in the order in which they were packed, and those that are being packed now. */
@Injectable()
class Bench {
  readonly packed: string[] = [];
  readonly open = new Map<string, Deferred<void>>();
  holds = false;
  mostAtOnce = 0;
  failures = 0;

  async pack(parcel: string): Promise<void> {
    this.packed.push(parcel);
    if (!this.holds) return;
    const release = deferred<void>();
    this.open.set(parcel, release);
    this.mostAtOnce = Math.max(this.mostAtOnce, this.open.size);
    await release.promise;
    this.open.delete(parcel);
  }
}

@Injectable()
class Packing {
  constructor(private readonly bench: Bench) {}

  @Workflow()
  async run(parcel: string): Promise<string> {
    await this.bench.pack(parcel);
    return `packed ${parcel}`;
  }
}

@Injectable()
class Clumsy {
  constructor(
    private readonly bench: Bench,
    private readonly flow: WorkflowContext,
  ) {}

  /** Fails as often as the bench says, in its second step. */
  @Workflow()
  async run(parcel: string): Promise<string> {
    await this.wrap(parcel);
    await this.seal(parcel);
    return `sealed ${parcel}`;
  }

  /** Goes on after a failure, hears something, and fails after all. */
  @Workflow()
  async hear(): Promise<string> {
    const isSealed = await this.seal('tea').then(
      () => true,
      () => false,
    );
    const heard = await this.flow.recv<string>();
    if (!isSealed) throw new Error('It is open.');
    return heard;
  }

  @Step()
  async wrap(parcel: string): Promise<void> {
    this.bench.packed.push(`wrap ${parcel}`);
  }

  @Step()
  async seal(parcel: string): Promise<void> {
    this.bench.packed.push(`seal ${parcel}`);
    if (this.bench.failures-- > 0) throw new Error('The tape tore.');
  }
}

@Injectable()
class Dispatching {
  constructor(@InjectQueue('parcels') private readonly queue: Queue) {}

  @Workflow()
  async run(parcels: string[]): Promise<string[]> {
    const handles = [];
    for (const parcel of parcels) handles.push(await this.queue.enqueue(Packing).run(parcel));
    return Promise.all(handles.map((handle) => handle.result()));
  }

  @Workflow()
  async many(parcels: string[]): Promise<string[]> {
    const items = parcels.map((parcel) => ({ args: [parcel] as [string] }));
    const handles = await this.queue.enqueueMany(Packing).run(items);
    return handles.map(({ workflowId }) => workflowId);
  }

  @Workflow()
  async inStep(): Promise<string> {
    return this.enqueueInStep();
  }

  @Step()
  async enqueueInStep(): Promise<string> {
    return (await this.queue.enqueue(Packing).run('late')).workflowId;
  }
}

interface QueueApp extends NestApp {
  readonly queue: Queue;
  readonly bench: Bench;
}

let apps: NestApps;
beforeAll(async () => {
  apps = await NestApps.open();
});
afterEach(() => apps.endAll());
afterAll(() => apps.close());

let count = 0;

/** An application with one queue of its own. */
async function startApp(
  options: Omit<QueueOptions, 'name'> = {},
  settings: Partial<NestAppSettings> = {},
): Promise<QueueApp> {
  const name = `queue-${(count += 1)}`;
  return startAppWith({ name, ...options }, settings);
}

async function startAppWith(
  options: QueueOptions,
  settings: Partial<NestAppSettings> = {},
): Promise<QueueApp> {
  const nestApp = await apps.start([Bench, Packing, Clumsy], {
    ...settings,
    after: [DbosModule.registerQueue(options), ...(settings.after ?? [])],
  });
  const queue = nestApp.app.get<Queue>(getQueueToken(options.name), { strict: false });
  return { ...nestApp, queue, bench: nestApp.app.get(Bench) };
}

const resultsOf = (handles: readonly WorkflowHandle[]): Promise<unknown[]> =>
  Promise.all(handles.map((handle) => handle.result()));

describe('A workflow on a queue', () => {
  it('is run, and its handle has the result', async () => {
    const { queue } = await startApp();
    const handle = await queue.enqueue(Packing).run('tea');
    expect(await handle.result()).toBe('packed tea');
  });

  it('shows where it waits', async () => {
    const { queue } = await startApp();
    await queue.pause();
    const handle = await queue
      .enqueue(Packing, { priority: 3, deduplicationId: 'tea', attributes: { a: 1 } })
      .run('tea');
    expect(await handle.status()).toMatchObject({
      status: 'ENQUEUED',
      queue: queue.name,
      priority: 3,
      deduplicationId: 'tea',
      attributes: { a: 1 },
      executorId: null,
    });
  });

  it('is one execution, however often it is enqueued under its id', async () => {
    const { queue, bench } = await startApp();
    const options = { workflowId: `once-${queue.name}` };
    const handles = await Promise.all(
      [1, 2, 3].map(() => queue.enqueue(Packing, options).run('tea')),
    );
    expect(await resultsOf(handles)).toEqual(['packed tea', 'packed tea', 'packed tea']);
    expect(bench.packed).toEqual(['tea']);
  });

  it('is enqueued by the name of its queue as well', async () => {
    const { queue, workflows } = await startApp();
    const handle = await workflows.enqueue(Packing, { queue: queue.name }).run('tea');
    expect(await handle.result()).toBe('packed tea');
  });

  it('is refused on a queue that is not registered', async () => {
    const { workflows } = await startApp();
    await expect(workflows.enqueue(Packing, { queue: 'nowhere' }).run('tea')).rejects.toMatchObject(
      {
        code: 'DBOS_UNKNOWN_QUEUE',
        queueName: 'nowhere',
      },
    );
  });

  it('B47: comes by priority, the lowest first, and by order of arrival within one', async () => {
    const { queue, bench } = await startApp({ concurrency: 1 });
    await queue.pause();
    const wanted = [
      ['low', 5],
      ['first', 0],
      ['second', 0],
      ['urgent', -1],
      ['low too', 5],
    ] as const;
    const handles = [];
    for (const [parcel, priority] of wanted)
      handles.push(await queue.enqueue(Packing, { priority }).run(parcel));
    await queue.resume();
    await resultsOf(handles);
    expect(bench.packed).toEqual(['urgent', 'first', 'second', 'low', 'low too']);
  });

  it('B47: comes in order of insertion, also when all arrive in one statement', async () => {
    const { queue, bench } = await startApp({ concurrency: 1 });
    const parcels = Array.from({ length: 50 }, (_, index) => `parcel ${index}`);
    const handles = await queue
      .enqueueMany(Packing)
      .run(parcels.map((parcel) => ({ args: [parcel] })));
    await resultsOf(handles);
    expect(bench.packed).toEqual(parcels);
  });

  it('B47: takes the priority that is given to it while it waits', async () => {
    const { queue, bench } = await startApp({ concurrency: 1 });
    await queue.pause();
    const first = await queue.enqueue(Packing).run('first');
    const second = await queue.enqueue(Packing).run('second');
    expect(await queue.setPriority(second.workflowId, -1)).toEqual([second.workflowId]);
    await queue.resume();
    await resultsOf([first, second]);
    expect(bench.packed).toEqual(['second', 'first']);
  });

  it('can be cancelled while it waits', async () => {
    const { queue, bench, workflows } = await startApp();
    await queue.pause();
    const handle = await queue.enqueue(Packing).run('tea');
    await workflows.cancel(handle.workflowId);
    await queue.resume();
    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_CANCELLED' });
    expect(bench.packed).toEqual([]);
  });
});

describe('A limit', () => {
  it.each([
    ['concurrency', { concurrency: 3 }],
    ['workerConcurrency', { workerConcurrency: 3 }],
    ['concurrency of a partition', { partition: { concurrency: 3 } }],
  ])('B45: of %s is reached and never exceeded', async (_name, limits) => {
    const { queue, bench } = await startApp(limits);
    bench.holds = true;
    const partitionKey = 'partition' in limits ? { partitionKey: 'one' } : {};
    const items = Array.from({ length: 12 }, (_, index) => ({
      args: [`parcel ${index}`] as [string],
      ...partitionKey,
    }));
    const handles = await queue.enqueueMany(Packing).run(items);
    for (let packed = 0; packed < 12; packed += 3) {
      await eventually(() => expect(bench.open.size).toBe(3));
      for (const release of bench.open.values()) release.resolve();
      await eventually(() =>
        expect(bench.packed.length).toBeGreaterThanOrEqual(Math.min(12, packed + 6)),
      );
    }
    bench.holds = false;
    for (const release of bench.open.values()) release.resolve();
    await resultsOf(handles);
    expect(bench.mostAtOnce).toBe(3);
  });

  it('B46: of rate lets no more than so many be claimed in any period', async () => {
    const { queue, prisma } = await startApp({ rateLimit: { limit: 4, periodMs: 300 } });
    const items = Array.from({ length: 14 }, (_, index) => ({ args: [`${index}`] as [string] }));
    await resultsOf(await queue.enqueueMany(Packing).run(items));
    const claims = await prisma.$queryRaw<Array<{ at: Date }>>`
      SELECT started_at AS at FROM dbos.workflows WHERE queue = ${queue.name} ORDER BY started_at`;
    const at = claims.map((claim) => claim.at.getTime());
    for (let index = 4; index < at.length; index += 1) {
      expect((at[index] ?? 0) - (at[index - 4] ?? 0)).toBeGreaterThanOrEqual(300);
    }
  });

  it('B52: of a partition holds for each partition by itself', async () => {
    const { queue, bench } = await startApp({ concurrency: 4, partition: { concurrency: 1 } });
    bench.holds = true;
    const items = ['a', 'a', 'a', 'b', 'b', 'c'].map((partitionKey, index) => ({
      args: [`${partitionKey}${index}`] as [string],
      partitionKey,
    }));
    const handles = await queue.enqueueMany(Packing).run(items);
    await eventually(() => expect([...bench.open.keys()].sort()).toEqual(['a0', 'b3', 'c5']));
    bench.open.get('a0')?.resolve();
    await eventually(() => expect([...bench.open.keys()].sort()).toEqual(['a1', 'b3', 'c5']));
    bench.holds = false;
    for (const release of bench.open.values()) release.resolve();
    await resultsOf(handles);
    expect(bench.packed.filter((parcel) => parcel.startsWith('a'))).toEqual(['a0', 'a1', 'a2']);
  });

  it('B52: of a partition does not hold up the others behind one that is full', async () => {
    const { queue, bench } = await startApp({ partition: { concurrency: 1 } });
    bench.holds = true;
    const full = Array.from({ length: 30 }, () => ({
      args: ['full'] as [string],
      partitionKey: 'full',
    }));
    await queue.enqueueMany(Packing).run(full);
    await eventually(() => expect(bench.open.size).toBe(1));
    await queue.enqueue(Packing, { partitionKey: 'idle' }).run('idle');
    await eventually(() => expect(bench.packed).toContain('idle'));
  });

  it('can be changed while workflows wait', async () => {
    const { queue, bench } = await startApp({ concurrency: 1 });
    bench.holds = true;
    await queue.enqueueMany(Packing).run(['a', 'b', 'c'].map((parcel) => ({ args: [parcel] })));
    await eventually(() => expect(bench.open.size).toBe(1));
    await queue.configure({ concurrency: 3 });
    await eventually(() => expect(bench.open.size).toBe(3));
    expect(await queue.report()).toMatchObject({
      limits: { concurrency: 3 },
      pending: 3,
      enqueued: 0,
    });
  });

  it('that was changed at run time outlives a restart, until the code declares another', async () => {
    const name = `queue-${(count += 1)}`;
    const first = await startAppWith({ name, concurrency: 5 });
    await first.queue.configure({ concurrency: 2 });
    await apps.endAll();
    const second = await startAppWith({ name, concurrency: 5 });
    expect((await second.queue.report()).limits).toEqual({ concurrency: 2 });
    await apps.endAll();
    const third = await startAppWith({ name, concurrency: 7 });
    expect((await third.queue.report()).limits).toEqual({ concurrency: 7 });
  });
});

describe('A paused queue', () => {
  it('lets out nothing, over a restart, until it is resumed', async () => {
    const name = `queue-${(count += 1)}`;
    const first = await startAppWith({ name });
    await first.queue.pause();
    const { workflowId } = await first.queue.enqueue(Packing).run('tea');
    await apps.endAll();
    const { queue, bench, workflows } = await startAppWith({ name });
    expect(await queue.report()).toMatchObject({ paused: true, enqueued: 1 });
    await workflows.execute(Packing).run('direct'); // what is on no queue goes on
    expect(bench.packed).toEqual(['direct']);
    await queue.resume();
    expect(await workflows.handle(workflowId).result()).toBe('packed tea');
  });
});

describe('A deduplication id', () => {
  it('B48: lets one active workflow have it, and refuses a second', async () => {
    const { queue } = await startApp();
    await queue.pause();
    const first = await queue.enqueue(Packing, { deduplicationId: 'tea' }).run('first');
    await expect(
      queue.enqueue(Packing, { deduplicationId: 'tea' }).run('second'),
    ).rejects.toMatchObject({
      code: 'DBOS_DEDUPLICATED',
      workflowId: first.workflowId,
      status: 'ENQUEUED',
    });
  });

  it('B48: is free again once its workflow has ended', async () => {
    const { queue } = await startApp();
    for (const parcel of ['first', 'second']) {
      const handle = await queue.enqueue(Packing, { deduplicationId: 'tea' }).run(parcel);
      expect(await handle.result()).toBe(`packed ${parcel}`);
    }
  });

  it('B48: attaches to the one that is there', async () => {
    const { queue, bench } = await startApp();
    await queue.pause();
    const options = { deduplicationId: 'tea', deduplication: 'attach' } as const;
    const [first, second] = [
      await queue.enqueue(Packing, options).run('first'),
      await queue.enqueue(Packing, options).run('second'),
    ];
    expect(second.workflowId).toBe(first.workflowId);
    await queue.resume();
    await second.result();
    expect(bench.packed).toEqual(['first']);
  });

  it('replaces the one that waits', async () => {
    const { queue, bench } = await startApp();
    await queue.pause();
    const options = { deduplicationId: 'tea', deduplication: 'replace' } as const;
    const [first, second] = [
      await queue.enqueue(Packing, options).run('first'),
      await queue.enqueue(Packing, { ...options, priority: 9 }).run('second'),
    ];
    expect(second.workflowId).toBe(first.workflowId);
    expect(await second.status()).toMatchObject({ priority: 9 });
    await queue.resume();
    expect(await second.result()).toBe('packed second');
    expect(bench.packed).toEqual(['second']);
  });

  it('replaces none that has begun', async () => {
    const { queue, bench } = await startApp();
    bench.holds = true;
    await queue.enqueue(Packing, { deduplicationId: 'tea' }).run('first');
    await eventually(() => expect(bench.open.size).toBe(1));
    const options = { deduplicationId: 'tea', deduplication: 'replace' } as const;
    await expect(queue.enqueue(Packing, options).run('second')).rejects.toMatchObject({
      code: 'DBOS_DEDUPLICATED',
      status: 'PENDING',
    });
  });

  it('B48: of many who want it at once, one gets it', async () => {
    const { queue } = await startApp();
    await queue.pause();
    const tries = Array.from({ length: 20 }, (_, index) =>
      queue.enqueue(Packing, { deduplicationId: 'tea' }).run(`${index}`),
    );
    const settled = await Promise.allSettled(tries);
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('is given up when its workflow is resumed after its end', async () => {
    const { queue, workflows } = await startApp();
    await queue.pause();
    const first = await queue.enqueue(Packing, { deduplicationId: 'tea' }).run('first');
    await workflows.cancel(first.workflowId);
    await queue.enqueue(Packing, { deduplicationId: 'tea' }).run('second');
    await workflows.resume(first.workflowId);
    expect(await first.status()).toMatchObject({ status: 'ENQUEUED', deduplicationId: null });
  });
});

describe('A delay', () => {
  it('B51: keeps a workflow from being claimed until its time has come', async () => {
    const { queue, prisma } = await startApp();
    const later = await queue.enqueue(Packing, { delay: '1h' }).run('salt');
    const handle = await queue.enqueue(Packing, { delay: 150 }).run('tea');
    await handle.result();
    expect(await later.status()).toMatchObject({ status: 'DELAYED' });
    const [row] = await prisma.$queryRaw<Array<{ waited: number }>>`
      SELECT extract(epoch FROM started_at - created_at)::float8 * 1000 AS waited
        FROM dbos.workflows WHERE id = ${handle.workflowId}`;
    expect(row?.waited).toBeGreaterThanOrEqual(150);
  });

  it('may be a moment', async () => {
    const { queue } = await startApp();
    const runAt = new Date(Date.now() + 3_600_000);
    const handle = await queue.enqueue(Packing, { runAt }).run('tea');
    expect(await handle.status()).toMatchObject({ status: 'DELAYED', wakeAt: runAt });
  });

  it('B51: ends at once for a workflow that is resumed', async () => {
    const { queue, workflows } = await startApp();
    const handle = await queue.enqueue(Packing, { delay: '3d' }).run('tea');
    await workflows.resume(handle.workflowId);
    expect(await handle.result()).toBe('packed tea');
  });
});

describe('A delay that is changed', () => {
  it('B51: counts from the change, as long as the workflow is delayed', async () => {
    const { queue } = await startApp();
    const handle = await queue.enqueue(Packing, { delay: '3d' }).run('tea');
    expect(await queue.setDelay(handle.workflowId, 20)).toBe(true);
    expect(await handle.result()).toBe('packed tea');
    expect(await queue.setDelay(handle.workflowId, 20)).toBe(false);
  });

  it('B51: may be put off to a moment', async () => {
    const { queue } = await startApp();
    const handle = await queue.enqueue(Packing, { delay: '3d' }).run('tea');
    const moment = new Date(Date.now() + 3_600_000);
    await queue.setDelay(handle.workflowId, moment);
    expect(await handle.status()).toMatchObject({ status: 'DELAYED', wakeAt: moment });
  });

  it('B51: is no longer one once the workflow waits to be claimed', async () => {
    const { queue } = await startApp();
    await queue.pause();
    const handle = await queue.enqueue(Packing).run('tea');
    expect(await queue.setDelay(handle.workflowId, '1h')).toBe(false);
    expect(await handle.status()).toMatchObject({ status: 'ENQUEUED' });
  });
});

describe('A workflow that fails on a queue with retries', () => {
  it('runs again from the step that failed', async () => {
    const { queue, bench } = await startApp({ retry: { maxRetries: 3, baseIntervalMs: 1 } });
    bench.failures = 2;
    const handle = await queue.enqueue(Clumsy).run('tea');
    expect(await handle.result()).toBe('sealed tea');
    expect(bench.packed).toEqual(['wrap tea', 'seal tea', 'seal tea', 'seal tea']);
    expect(await handle.status()).toMatchObject({ status: 'SUCCESS', failures: 2, error: null });
  });

  it('receives again what it had received after that step', async () => {
    const { queue, bench, workflows } = await startApp({
      retry: { maxRetries: 1, baseIntervalMs: 1 },
    });
    bench.failures = 1;
    const handle = await queue.enqueue(Clumsy).hear();
    await workflows.send(handle.workflowId, 'hello');
    expect(await handle.result()).toBe('hello');
    expect(await handle.status()).toMatchObject({ failures: 1 });
  });

  it('fails for good when the retries are used up', async () => {
    const { queue, bench } = await startApp({ retry: { maxRetries: 1, baseIntervalMs: 1 } });
    bench.failures = 5;
    const handle = await queue.enqueue(Clumsy).run('tea');
    await expect(handle.result()).rejects.toThrow('The tape tore.');
    expect(bench.packed).toEqual(['wrap tea', 'seal tea', 'seal tea']);
  });

  it('is not run again on a queue without', async () => {
    const { queue, bench } = await startApp();
    bench.failures = 1;
    await expect((await queue.enqueue(Clumsy).run('tea')).result()).rejects.toThrow('tape');
    expect(bench.packed).toEqual(['wrap tea', 'seal tea']);
  });
});

describe('A debounced workflow', () => {
  it('waits on its queue once its time has come', async () => {
    const { queue, workflows } = await startApp();
    const options = { key: queue.name, periodMs: 10, queue: queue.name };
    const handle = await workflows.debounce(Packing, options).run('tea');
    expect(await handle.result()).toBe('packed tea');
    expect(await handle.status()).toMatchObject({ queue: queue.name });
  });
});

describe('Many workflows at once', () => {
  it('are written all or none', async () => {
    const { queue } = await startApp();
    await queue.pause();
    const items = [
      { args: ['a'] as [string] },
      { args: [Symbol('no') as unknown as string] as [string] },
    ];
    await expect(queue.enqueueMany(Packing).run(items)).rejects.toMatchObject({
      code: 'DBOS_UNSERIALIZABLE_VALUE',
    });
    expect(await queue.report()).toMatchObject({ enqueued: 0 });
  });

  it('may not share an id', async () => {
    const { queue } = await startApp();
    const item = { args: ['a'] as [string], workflowId: 'twin' };
    await expect(queue.enqueueMany(Packing).run([item, item])).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
  });
});

describe('A queue that is used by workflows', () => {
  @Module({
    imports: [DbosModule.registerQueue({ name: 'parcels' })],
    providers: [Dispatching],
  })
  class ParcelsModule {}

  it('enqueues children, whose results the parent awaits', async () => {
    const { workflows } = await startApp({}, { after: [ParcelsModule] });
    const handle = await workflows.start(Dispatching).run(['a', 'b']);
    expect(await handle.result()).toEqual(['packed a', 'packed b']);
    const child = workflows.handle(`${handle.workflowId}-0`);
    expect(await child.status()).toMatchObject({ queue: 'parcels', parentId: handle.workflowId });
  });

  it('gives many children ids of their parent', async () => {
    const { workflows } = await startApp({}, { after: [ParcelsModule] });
    const handle = await workflows.start(Dispatching).many(['a', 'b']);
    const id = handle.workflowId;
    expect(await handle.result()).toEqual([`${id}-0-0`, `${id}-0-1`]);
  });

  it('refuses a step', async () => {
    const { workflows } = await startApp({}, { after: [ParcelsModule] });
    await expect(workflows.execute(Dispatching).inStep()).rejects.toMatchObject({
      code: 'DBOS_FORBIDDEN_IN_STEP',
    });
  });
});

describe('Bad input', () => {
  it.each([
    ['a priority that is no integer', { priority: 1.5 }],
    ['a partition key on a queue without partitions', { partitionKey: 'a' }],
    ['a delay and a moment', { delay: 5, runAt: new Date() }],
    ['a negative delay', { delay: -1 }],
    ['a policy that does not exist', { deduplication: 'merge' as never }],
    ['an empty deduplication id', { deduplicationId: '' }],
    ['a moment that is none', { runAt: new Date(Number.NaN) }],
  ])('%s is refused, and nothing is written', async (_what, options) => {
    const { queue } = await startApp();
    await expect(queue.enqueue(Packing, options).run('tea')).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
    expect(await queue.report()).toMatchObject({ enqueued: 0, delayed: 0, pending: 0 });
  });

  it('B52: a partitioned queue refuses what has no partition', async () => {
    const { queue } = await startApp({ partition: { concurrency: 1 } });
    await expect(queue.enqueue(Packing).run('tea')).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
  });

  it('a partitioned queue takes no debounced workflow, which has no partition', async () => {
    const { queue, workflows } = await startApp({ partition: { concurrency: 1 } });
    const options = { key: 'tea', periodMs: 1, queue: queue.name };
    await expect(workflows.debounce(Packing, options).run('tea')).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
  });

  it.each([
    { concurrency: 0 },
    { concurrency: 1.5 },
    { workerConcurrency: -1 },
    { concurrency: 1, workerConcurrency: 2 },
    { rateLimit: { limit: 0, periodMs: 100 } },
    { rateLimit: { limit: 1, periodMs: 0 } },
    { partition: {} },
    { retry: { maxRetries: -1 } },
  ])('a queue with %j is refused where it is written', (options) => {
    expect(() => DbosModule.registerQueue({ name: 'wrong', ...options })).toThrow(/Queue "wrong"/);
  });
});

describe('A process', () => {
  it('claims only from the queues it listens to', async () => {
    const other = DbosModule.registerQueue({ name: 'unheard' });
    const name = `queue-${(count += 1)}`;
    const { queue, bench, workflows } = await startAppWith(
      { name },
      { after: [other], options: { listen: [name] } },
    );
    const unheard = await workflows.enqueue(Packing, { queue: 'unheard' }).run('unheard');
    await (await queue.enqueue(Packing).run('heard')).result();
    expect(bench.packed).toEqual(['heard']);
    expect(await unheard.status()).toMatchObject({ status: 'ENQUEUED' });
  });

  it('that runs no workflows leaves what it starts and enqueues to others', async () => {
    const name = `queue-${(count += 1)}`;
    const api = await startAppWith({ name }, { options: { runWorkflows: false } });
    const handles = [
      await api.workflows.start(Packing).run('started'),
      await api.queue.enqueue(Packing).run('enqueued'),
    ];
    expect(await handles[0]?.status()).toMatchObject({ status: 'ENQUEUED', queue: null });
    const worker = await startAppWith({ name });
    expect(await resultsOf(handles)).toEqual(['packed started', 'packed enqueued']);
    expect(api.bench.packed).toEqual([]);
    expect(worker.bench.packed.sort()).toEqual(['enqueued', 'started']);
  });

  it('refuses to listen to a queue that it does not register', async () => {
    await expect(startApp({}, { options: { listen: ['typo'] } })).rejects.toMatchObject({
      code: 'DBOS_REGISTRATION',
    });
  });
});
