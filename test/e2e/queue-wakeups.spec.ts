// Nobody waits for a poll: whatever lets waiting work go on reaches the process that can take it, whoever brought it
// about. The processes here poll once in minutes.
import { CheckpointRepository } from 'nestjs-dbos';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { eventually } from '../support/eventually.js';
import { connectionError } from '../support/faulty-client.js';
import { NestApps } from '../support/nest-app.js';
import {
  Packing,
  hasNothingToDo,
  knowEachOther,
  startQueueApp,
  type QueueApp,
  type QueueAppSettings,
} from '../support/queue-apps.js';
import { QueueSession } from '../support/queue-session.js';

let apps: NestApps;
let started: QueueApp[];

beforeAll(async () => {
  apps = await NestApps.open();
});

beforeEach(() => {
  started = [];
});

afterEach(async () => {
  for (const { bench } of started) bench.letGo();
  await apps.endAll();
});

afterAll(() => apps.close());

let count = 0;

/** A name for a queue that no other test uses. */
const named = (): string => `queue-${(count += 1)}`;

async function start(settings: QueueAppSettings): Promise<QueueApp> {
  const app = await startQueueApp(apps, settings);
  started.push(app);
  return app;
}

/** A process that works, and one that only enqueues. */
async function startWorkerAndApi(name: string): Promise<{ worker: QueueApp; api: QueueApp }> {
  const worker = await start({ queues: [{ name }] });
  const api = await start({ queues: [{ name }], options: { runWorkflows: false } });
  await knowEachOther(worker, api);
  return { worker, api };
}

/** Resolves with the parcel once it is being packed there. */
const begins = (app: QueueApp, parcel: string): Promise<string> =>
  eventually(() => {
    expect(app.bench.packed).toContain(parcel);
    return parcel;
  });

/** Resolves once a claim that this brought about has been answered. */
async function claimsAfter(app: QueueApp, act: () => Promise<unknown>): Promise<void> {
  const claim = app.gates.hold('claim_workflows', 'committed');
  await act();
  await claim.reached;
  claim.open();
  await hasNothingToDo(app);
}

const isStopping = (app: QueueApp): Promise<void> =>
  eventually(() => expect(app.app.get(Engine).isRunning).toBe(false));

describe('What a process brings about that runs no workflows reaches a worker', () => {
  it('at once when it enqueues', async () => {
    const name = named();
    const { worker, api } = await startWorkerAndApi(name);
    await api.queue(name).enqueue(Packing).run('tea');
    expect(await begins(worker, 'tea')).toBe('tea');
  });

  it('in time when it enqueues with a delay', async () => {
    const name = named();
    const { worker, api } = await startWorkerAndApi(name);
    await api.queue(name).enqueue(Packing, { delay: 50 }).run('tea');
    expect(await begins(worker, 'tea')).toBe('tea');
  });

  it('in time when it brings a delay forward', async () => {
    const name = named();
    const { worker, api } = await startWorkerAndApi(name);
    const { workflowId } = await api.queue(name).enqueue(Packing, { delay: '3d' }).run('tea');
    await api.queue(name).setDelay(workflowId, 50);
    expect(await begins(worker, 'tea')).toBe('tea');
  });

  it('in time when it debounces', async () => {
    const { worker, api } = await startWorkerAndApi(named());
    await api.workflows.debounce(Packing, { key: 'tea', periodMs: 50 }).run('tea');
    expect(await begins(worker, 'tea')).toBe('tea');
  });

  it('when it resumes a queue', async () => {
    const name = named();
    const { worker, api } = await startWorkerAndApi(name);
    await api.queue(name).pause();
    await claimsAfter(worker, () => api.queue(name).enqueue(Packing).run('tea'));
    await api.queue(name).resume();
    expect(await begins(worker, 'tea')).toBe('tea');
  });

  it('when it raises a limit', async () => {
    const name = named();
    const { worker, api } = await startWorkerAndApi(name);
    await api.queue(name).configure({ concurrency: 1 });
    await api.queue(name).enqueue(Packing).run('tea');
    await begins(worker, 'tea');
    await claimsAfter(worker, () => api.queue(name).enqueue(Packing).run('salt'));
    await api.queue(name).configure({ concurrency: 2 });
    expect(await begins(worker, 'salt')).toBe('salt');
  });

  it('when it cancels what others wait for', async () => {
    const name = named();
    const { worker, api } = await startWorkerAndApi(name);
    await api.queue(name).configure({ concurrency: 1 });
    const first = await api.queue(name).enqueue(Packing).run('tea');
    await begins(worker, 'tea');
    await claimsAfter(worker, () => api.queue(name).enqueue(Packing).run('salt'));
    await api.workflows.cancel(first.workflowId);
    expect(await begins(worker, 'salt')).toBe('salt');
  });

  it('soon after it has learned that somebody listens, when it did not know that before', async () => {
    const name = named();
    const { worker, api } = await startWorkerAndApi(name);
    api.app.get(CheckpointRepository).notifier.hasAudience = false;
    await api.queue(name).enqueue(Packing).run('tea');
    expect(await begins(worker, 'tea')).toBe('tea');
  });
});

describe('What a process puts on a queue that it does not listen to', () => {
  async function startDeafAndWorker(name: string): Promise<{ deaf: QueueApp; worker: QueueApp }> {
    const other = named();
    const worker = await start({ queues: [{ name }] });
    const queues = [{ name }, { name: other }];
    const deaf = await start({ queues, options: { listen: [other] } });
    await knowEachOther(deaf, worker);
    return { deaf, worker };
  }

  it.each([
    ['at once', {}],
    ['after its delay', { delay: 50 }],
  ])('begins in one that does, %s', async (_when, options) => {
    const name = named();
    const { deaf, worker } = await startDeafAndWorker(name);
    await deaf.queue(name).enqueue(Packing, options).run('tea');
    expect(await begins(worker, 'tea')).toBe('tea');
  });

  it('begins in one that does when it takes it from a dead executor', async () => {
    const name = named();
    const { deaf, worker } = await startDeafAndWorker(name);
    const hearts = worker.gates.holdAll('dbos.heartbeat', 'unsent'); // it notices no death
    await deaf.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, queue, serialization, input)
      VALUES ('orphan', 'Packing', 'PENDING', 'dead', 1, ${name}, 'json', '["tea"]')`;
    expect(await begins(worker, 'tea')).toBe('tea');
    hearts.open();
  });
});

describe('What a process cannot take is taken by another', () => {
  it.each([
    ['because its share of the queue is at work', { workerConcurrency: 1 }, {}],
    ['because it has no slot', {}, { maxConcurrentWorkflows: 1 }],
  ])('%s when it becomes due', async (_why, limits, options) => {
    const name = named();
    const queues = [{ name, ...limits }];
    const busy = await start({ queues, options });
    await busy.queue(name).enqueue(Packing).run('tea');
    await begins(busy, 'tea');
    const idle = await start({ queues });
    await knowEachOther(busy, idle);
    await busy.queue(name).enqueue(Packing, { delay: 300 }).run('salt');
    expect(await begins(idle, 'salt')).toBe('salt');
  });

  it('when it was put there while a claim was under way', async () => {
    const name = named();
    const queues = [{ name, workerConcurrency: 2 }];
    const busy = await start({ queues });
    const idle = await start({ queues });
    await knowEachOther(busy, idle);
    const claim = busy.gates.hold('claim_workflows', 'committed');
    await busy.queue(name).enqueue(Packing).run('tea');
    await claim.reached;
    await busy.queue(name).enqueue(Packing).run('salt');
    await busy.queue(name).enqueue(Packing).run('sugar');
    claim.open();
    expect(await begins(idle, 'sugar')).toBe('sugar');
  });

  it.each([
    ['is put there', 0],
    ['becomes due', 100],
  ])('when it %s after it has begun to stop', async (_what, delay) => {
    const name = named();
    const stopping = await start({
      queues: [{ name }],
      options: { shutdown: { drainMs: 20_000 } },
    });
    await stopping.queue(name).enqueue(Packing).run('tea');
    await begins(stopping, 'tea');
    const other = await start({ queues: [{ name }] });
    await knowEachOther(stopping, other);
    if (delay > 0) await stopping.queue(name).enqueue(Packing, { delay }).run('salt');
    const closing = stopping.app.close();
    await isStopping(stopping);
    if (delay === 0) await stopping.queue(name).enqueue(Packing).run('salt');
    expect(await begins(other, 'salt')).toBe('salt');
    stopping.bench.letGo();
    await closing;
  });

  it('when it ends what the other waits for after it has begun to stop', async () => {
    const name = named();
    const queues = [{ name, concurrency: 1 }];
    const stopping = await start({ queues, options: { shutdown: { drainMs: 20_000 } } });
    await stopping.queue(name).enqueue(Packing).run('tea');
    await begins(stopping, 'tea');
    const waiting = await start({ queues });
    await knowEachOther(stopping, waiting);
    await claimsAfter(waiting, () => waiting.queue(name).enqueue(Packing).run('salt'));
    const closing = stopping.app.close();
    await isStopping(stopping);
    stopping.bench.letGo();
    expect(await begins(waiting, 'salt')).toBe('salt');
    await closing;
  });
});

describe('While the outcome of a workflow is written', () => {
  const enqueue = async (
    app: QueueApp,
    name: string,
    parcels: readonly string[],
  ): Promise<void> => {
    const items = parcels.map((parcel) => ({ args: [parcel] as [string] }));
    await app.queue(name).enqueueMany(Packing).run(items);
  };

  it('the next one of its queue begins in its place', async () => {
    const name = named();
    const app = await start({ queues: [{ name, workerConcurrency: 1 }] });
    await enqueue(app, name, ['tea', 'salt']);
    await begins(app, 'tea');
    const write = app.gates.holdAll('write_transitions', 'unsent');
    app.bench.finish('tea');
    await write.reached;
    expect(await begins(app, 'salt')).toBe('salt');
    write.open();
  });

  it('no more of them wait for the database than may be at work', async () => {
    const name = named();
    const app = await start({ queues: [{ name }], options: { maxConcurrentWorkflows: 1 } });
    await enqueue(app, name, ['tea', 'salt', 'sugar']);
    await begins(app, 'tea');
    const writes = [1, 2].map(() => app.gates.hold('write_transitions', 'unsent'));
    app.bench.finish('tea');
    await begins(app, 'salt');
    app.bench.finish('salt');
    await writes[1]?.reached;
    await hasNothingToDo(app);
    expect(app.bench.packed).toEqual(['tea', 'salt']);
    for (const write of writes) write.open();
    expect(await begins(app, 'sugar')).toBe('sugar');
  });

  it('that one counts against the limits that processes share', async () => {
    const name = named();
    const app = await start({ queues: [{ name, concurrency: 1 }] });
    await enqueue(app, name, ['tea', 'salt']);
    await begins(app, 'tea');
    const write = app.gates.hold('write_transitions', 'unsent');
    app.bench.finish('tea');
    await write.reached;
    await hasNothingToDo(app);
    expect(app.bench.packed).toEqual(['tea']);
    write.open();
    expect(await begins(app, 'salt')).toBe('salt');
  });
});

describe('Nothing is asked of the database', () => {
  const countClaims = (app: QueueApp): { readonly sent: number } => {
    const claims = { sent: 0 };
    app.gates.onEach((sql, _values, moment) => {
      if (sql.includes('claim_workflows') && moment === 'unsent') claims.sent += 1;
    });
    return claims;
  };

  it('for what is put on a queue that is full here', async () => {
    const name = named();
    const app = await start({ queues: [{ name, workerConcurrency: 1 }] });
    await app.queue(name).enqueue(Packing).run('tea');
    await begins(app, 'tea');
    await hasNothingToDo(app);
    const claims = countClaims(app);
    await app.queue(name).enqueue(Packing).run('salt');
    await hasNothingToDo(app);
    expect(claims.sent).toBe(0);
    app.bench.finish('tea');
    expect(await begins(app, 'salt')).toBe('salt');
  });

  it('for what is put on a paused queue, until somebody resumes it', async () => {
    const name = named();
    const { worker, api } = await startWorkerAndApi(name);
    await claimsAfter(worker, () => api.queue(name).pause());
    const claims = countClaims(worker);
    await worker.queue(name).enqueue(Packing).run('tea');
    await hasNothingToDo(worker);
    expect(claims.sent).toBe(0);
    await api.queue(name).resume();
    expect(await begins(worker, 'tea')).toBe('tea');
  });

  it('but what is put into another partition is looked for', async () => {
    const name = named();
    const app = await start({ queues: [{ name, partition: { concurrency: 1 } }] });
    for (const [parcel, partitionKey] of [
      ['tea', 'a'],
      ['sugar', 'b'],
    ] as const) {
      await app.queue(name).enqueue(Packing, { partitionKey }).run(parcel);
      expect(await begins(app, parcel)).toBe(parcel);
    }
  });

  it('but a process is told that another one has resumed a queue which it can empty itself', async () => {
    const name = named();
    const queues = [{ name, workerConcurrency: 1 }];
    const resuming = await start({ queues });
    const other = await start({ queues });
    await knowEachOther(resuming, other);
    await claimsAfter(other, () => resuming.queue(name).pause());
    await resuming.queue(name).resume();
    await hasNothingToDo(resuming);
    await claimsAfter(other, () => other.queue(name).enqueue(Packing).run('tea'));
    expect([...other.bench.packed, ...resuming.bench.packed]).toEqual(['tea']);
  });
});

describe('A claim', () => {
  it('that is answered after the halt begins nothing, and gives back what it took', async () => {
    const name = named();
    const stopping = await start({ queues: [{ name }] });
    const claim = stopping.gates.hold('claim_workflows', 'committed');
    const { workflowId } = await stopping.queue(name).enqueue(Packing).run('tea');
    await claim.reached;
    const closing = stopping.app.close();
    await isStopping(stopping);
    claim.open();
    await closing;
    expect(stopping.bench.packed).toEqual([]);

    const next = await start({ queues: [{ name }] });
    await begins(next, 'tea');
    expect(await next.workflows.handle(workflowId).status()).toMatchObject({ recoveryAttempts: 0 });
  });

  it('B49: whose histories could not be read leaves nothing behind', async () => {
    const name = named();
    const app = await start({ queues: [{ name, concurrency: 30 }] });
    app.bench.holds = false;
    let unread = 1;
    app.gates.onEach((sql, _values, moment) => {
      if (!sql.includes('step_histories') || moment !== 'unsent' || unread === 0) return;
      unread -= 1;
      throw connectionError();
    });
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, queue, serialization, input)
      SELECT ${name} || n, 'Packing', 'PENDING', 'dead', 1, ${name}, 'json', '["tea"]' FROM generate_series(1, 20) AS n`;

    await eventually(async () => {
      const ended = await app.prisma.$queryRaw<unknown[]>`
        SELECT FROM dbos.workflows WHERE queue = ${name} AND status = 'SUCCESS'`;
      expect(ended).toHaveLength(20);
    });
    expect(unread).toBe(0);
    expect(app.bench.packed).toHaveLength(20);
  });

  it.each([
    ['that processes share', { concurrency: 2 }],
    ['of its own', { workerConcurrency: 2 }],
  ])(
    'that found a queue full, by a limit %s, is made again when room came meanwhile',
    async (_whose, limit) => {
      const name = named();
      const app = await start({ queues: [{ name, ...limit }] });
      const first = await app.queue(name).enqueue(Packing).run('tea');
      await begins(app, 'tea');
      const claim = app.gates.hold('claim_workflows', 'committed');
      const items = ['salt', 'sugar'].map((parcel) => ({ args: [parcel] as [string] }));
      await app.queue(name).enqueueMany(Packing).run(items);
      await claim.reached;
      app.bench.finish('tea');
      await first.result();
      claim.open();
      expect(await begins(app, 'sugar')).toBe('sugar');
    },
  );

  it('that passed by what a change of priority had locked is made again', async () => {
    const name = named();
    const app = await start({ queues: [{ name }] });
    await app.queue(name).pause();
    const { workflowId } = await app.queue(name).enqueue(Packing).run('tea');
    const session = await QueueSession.open(apps.url);
    await session.begin();
    await session.query('SELECT FROM dbos.workflows WHERE id = $1 FOR UPDATE', [workflowId]);
    await claimsAfter(app, () => app.queue(name).resume());

    const changing = app.queue(name).setPriority(workflowId, 1);
    await session.commit();

    expect(await changing).toEqual([workflowId]);
    await begins(app, 'tea');
    await session.close();
  });
});
