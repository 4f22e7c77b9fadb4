// B60: what is started, enqueued, sent and decided within a transaction of the application is committed with it, or not at all.
import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import {
  DbosModule,
  Queue,
  Transaction,
  Workflow,
  WorkflowContext,
  getQueueToken,
  type OpenTransaction,
} from 'nestjs-dbos';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createEmptyDatabase } from '../support/empty-database.js';
import { eventually } from '../support/eventually.js';
import { NestApps, openPrisma, type NestApp } from '../support/nest-app.js';

@Injectable()
class Ordering {
  readonly done: string[] = [];
  secret = '';

  constructor(private readonly flow: WorkflowContext) {}

  @Workflow({ name: 'order' })
  async run(sku: string): Promise<string> {
    this.done.push(sku);
    return `ordered ${sku}`;
  }

  @Workflow({ name: 'listen' })
  async listen(): Promise<unknown> {
    return this.flow.recv('news');
  }

  @Workflow({ name: 'ask' })
  async ask(): Promise<unknown> {
    const { token, wait } = await this.flow.createToken();
    this.secret = token;
    return wait();
  }
}

type Act = (tx: OpenTransaction) => unknown;

@Injectable()
class Acting {
  act: Act = () => undefined;

  constructor(private readonly flow: WorkflowContext) {}

  @Transaction({ name: 'act' })
  async within(): Promise<null> {
    await this.act(this.flow.prisma<PrismaClient>());
    return null;
  }

  @Workflow({ name: 'act in a transaction' })
  async run(): Promise<void> {
    await this.within();
  }

  @Workflow({ name: 'act in a step' })
  async inStep(): Promise<void> {
    await this.flow.step('step', async () => void (await this.elsewhere()));
  }

  @Workflow({ name: 'act between the steps' })
  async betweenSteps(): Promise<void> {
    await this.elsewhere();
  }

  @Workflow({ name: 'act twice' })
  async twice(): Promise<string> {
    await this.flow.step('before', () => null);
    await this.within();
    return 'in the end';
  }

  /** In a transaction that is none of the library's. */
  elsewhere: () => unknown = () => undefined;
}

let apps: NestApps;
const QUEUE = 'orders';
const RETRYING = 'retrying';

beforeAll(async () => {
  apps = await NestApps.open();
});
afterEach(() => apps.endAll());
afterAll(() => apps.close());

async function start(options: { sessionUrl?: string; pollIntervalMs?: number } = {}) {
  const nestApp = await apps.start([Ordering, Acting], {
    options,
    after: [
      DbosModule.registerQueue({ name: QUEUE }),
      DbosModule.registerQueue({ name: RETRYING, retry: { maxRetries: 1, baseIntervalMs: 1 } }),
    ],
  });
  const queue = nestApp.app.get<Queue>(getQueueToken(QUEUE), { strict: false });
  return {
    ...nestApp,
    queue,
    ordering: nestApp.app.get(Ordering),
    acting: nestApp.app.get(Acting),
  };
}

function product(sku: string) {
  return { sku, name: sku, priceCents: 100, stock: 5, warehouse: 'north' };
}

const workflowsNamed = ({ prisma }: NestApp, id: string): Promise<unknown[]> =>
  prisma.$queryRaw`SELECT id FROM dbos.workflows WHERE id = ${id}`;

class Changed extends Error {}

/** Runs `work` in a transaction that is rolled back. */
async function rolledBack({ prisma }: NestApp, work: Act): Promise<void> {
  const transaction = prisma.$transaction(async (tx) => {
    await work(tx);
    throw new Changed();
  });
  await expect(transaction).rejects.toBeInstanceOf(Changed);
}

describe('B60: a workflow that is started in a transaction', () => {
  it('runs once that has been committed, with what it wrote', async () => {
    const { workflows, prisma } = await start();
    const sku = randomUUID();
    const handle = await prisma.$transaction(async (tx) => {
      await tx.product.create({ data: product(sku) });
      return workflows.start(Ordering, { tx, workflowId: sku }).run(sku);
    });

    expect(await handle.result()).toBe(`ordered ${sku}`);
    expect(await prisma.product.count({ where: { sku } })).toBe(1);
  });

  it('leaves nothing behind when that is rolled back', async () => {
    const test = await start();
    const id = randomUUID();
    await rolledBack(test, (tx) =>
      test.workflows.start(Ordering, { tx, workflowId: id }).run('never'),
    );

    expect(await workflowsNamed(test, id)).toEqual([]);
    await test.workflows.execute(Ordering).run('after');
    expect(test.ordering.done).toEqual(['after']);
  });

  it('is not seen by anybody before the commit', async () => {
    const test = await start();
    const id = randomUUID();
    await test.prisma.$transaction(async (tx) => {
      await test.workflows.start(Ordering, { tx, workflowId: id }).run('hidden');
      expect(await workflowsNamed(test, id)).toEqual([]);
    });
    expect(await test.workflows.handle(id).result()).toBe('ordered hidden');
  });

  it('is one, however often the transaction is tried again', async () => {
    const test = await start();
    const id = randomUUID();
    const place: Act = (tx) => test.workflows.start(Ordering, { tx, workflowId: id }).run('once');
    await rolledBack(test, place);
    await test.prisma.$transaction(async (tx) => void (await place(tx)));
    await test.prisma.$transaction(async (tx) => void (await place(tx)));
    await test.workflows.handle(id).result();

    expect(test.ordering.done).toEqual(['once']);
  });

  it('is refused under the id of a workflow of another name', async () => {
    const { workflows, prisma } = await start();
    const id = randomUUID();
    await workflows.start(Ordering, { workflowId: id }).run('first');

    await expect(
      prisma.$transaction(async (tx) => {
        await workflows.start(Ordering, { tx, workflowId: id }).listen();
      }),
    ).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_ID_CONFLICT' });
  });

  it('is claimed at once after the commit: the notification is part of it', async () => {
    const { workflows, prisma } = await start({ sessionUrl: apps.url, pollIntervalMs: 600_000 });
    await workflows.execute(Ordering).run('warm');
    const handle = await prisma.$transaction((tx) =>
      workflows.start(Ordering, { tx }).run('prompt'),
    );
    expect(await handle.result()).toBe('ordered prompt');
  });

  it('cannot be waited for by execute()', async () => {
    const { workflows, prisma } = await start();
    await expect(
      prisma.$transaction((tx) => {
        const options: object = { tx }; // its type has no place for it
        return workflows.execute(Ordering, options).run('x');
      }),
    ).rejects.toMatchObject({ code: 'DBOS_INVALID_ARGUMENT' });
  });
});

describe('What is given as tx', () => {
  it('is refused when it is the client itself, with a word on what to pass', async () => {
    const { workflows, queue, prisma } = await start();
    const refusal = expect.objectContaining({
      code: 'DBOS_INVALID_TRANSACTION_CLIENT',
      message: expect.stringContaining('prisma.$transaction(async (tx) => …)') as string,
    }) as Error;
    for (const call of [
      () => workflows.start(Ordering, { tx: prisma }).run('x'),
      () => queue.enqueue(Ordering, { tx: prisma }).run('x'),
      () => queue.enqueueMany(Ordering, { tx: prisma }).run([{ args: ['x'] }]),
      () => workflows.send('x', 'news', { tx: prisma }),
      () => workflows.resolveToken('x', 1, { tx: prisma }),
    ]) {
      await expect(call()).rejects.toThrow(TypeError);
      await expect(call()).rejects.toEqual(refusal);
    }
  });

  it('is refused when it is named but missing', async () => {
    const { workflows } = await start();
    const options = { tx: undefined } as unknown as { tx: OpenTransaction };
    await expect(workflows.start(Ordering, options).run('x')).rejects.toThrow(TypeError);
  });
});

describe('B60: workflows that are enqueued in a transaction', () => {
  it('run once that has been committed', async () => {
    const { queue, prisma } = await start();
    const handles = await prisma.$transaction(async (tx) => [
      await queue.enqueue(Ordering, { tx }).run('one'),
      ...(await queue.enqueueMany(Ordering, { tx }).run([{ args: ['two'] }, { args: ['three'] }])),
    ]);
    expect(await Promise.all(handles.map((handle) => handle.result()))).toEqual([
      'ordered one',
      'ordered two',
      'ordered three',
    ]);
  });

  it('leave nothing behind when that is rolled back', async () => {
    const test = await start();
    const [one, two] = [randomUUID(), randomUUID()];
    await rolledBack(test, async (tx) => {
      await test.queue.enqueue(Ordering, { tx, workflowId: one }).run('one');
      await test.queue.enqueueMany(Ordering, { tx }).run([{ args: ['two'], workflowId: two }]);
    });
    expect([await workflowsNamed(test, one), await workflowsNamed(test, two)]).toEqual([[], []]);
  });

  it('replace one that waits only with the commit', async () => {
    const test = await start();
    await test.queue.pause();
    const deduplication = { deduplicationId: 'same', deduplication: 'replace' } as const;
    const handle = await test.queue.enqueue(Ordering, deduplication).run('first');
    await rolledBack(test, (tx) =>
      test.queue.enqueue(Ordering, { tx, ...deduplication }).run('rolled back'),
    );
    await test.prisma.$transaction((tx) =>
      test.queue.enqueue(Ordering, { tx, ...deduplication }).run('second'),
    );
    await test.queue.resume();

    expect(await handle.result()).toBe('ordered second');
  });
});

describe('B60: a message that is sent in a transaction', () => {
  it('is received once that has been committed, and once', async () => {
    const test = await start();
    const handle = await test.workflows.start(Ordering).listen();
    await rolledBack(test, (tx) =>
      test.workflows.send(handle.workflowId, 'false news', { tx, topic: 'news' }),
    );
    await test.prisma.$transaction((tx) =>
      test.workflows.send(handle.workflowId, 'news', { tx, topic: 'news' }),
    );
    expect(await handle.result()).toBe('news');
  });

  it('wakes whoever waits, in memory or parked, without a poll', async () => {
    const test = await start({ sessionUrl: apps.url, pollIntervalMs: 600_000 });
    const handle = await test.workflows.start(Ordering).listen();
    await eventually(async () => expect((await handle.status()).status).toBe('DELAYED'));
    await test.prisma.$transaction((tx) =>
      test.workflows.send(handle.workflowId, 'news', { tx, topic: 'news' }),
    );
    expect(await handle.result()).toBe('news');
  });

  it('is refused when nobody has the id', async () => {
    const { workflows, prisma } = await start();
    await expect(
      prisma.$transaction((tx) => workflows.send('nobody', 'news', { tx })),
    ).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_NOT_FOUND' });
  });

  it('goes to a workflow that was started in the same transaction', async () => {
    const { workflows, prisma } = await start();
    const handle = await prisma.$transaction(async (tx) => {
      const started = await workflows.start(Ordering, { tx }).listen();
      await workflows.send(started.workflowId, 'early news', { tx, topic: 'news' });
      return started;
    });
    expect(await handle.result()).toBe('early news');
  });
});

describe('B60: a token that is decided in a transaction', () => {
  it('counts once that has been committed', async () => {
    const test = await start();
    const handle = await test.workflows.start(Ordering).ask();
    await eventually(() => expect(test.ordering.secret).not.toBe(''));
    await rolledBack(test, (tx) => test.workflows.resolveToken(test.ordering.secret, 'no', { tx }));
    const decided = await test.prisma.$transaction((tx) =>
      test.workflows.resolveToken(test.ordering.secret, 'yes', { tx }),
    );

    expect(decided).toBe(true);
    expect(await handle.result()).toBe('yes');
  });
});

describe('In a @Transaction() step', () => {
  it('a workflow is started exactly once, as a child', async () => {
    const { workflows, acting, ordering } = await start();
    acting.act = (tx) => workflows.start(Ordering, { tx, workflowId: 'child of act' }).run('child');
    const handle = await workflows.start(Acting).run();
    await handle.result();

    expect(await workflows.handle('child of act').result()).toBe('ordered child');
    expect(await workflows.handle('child of act').status()).toMatchObject({
      parentId: handle.workflowId,
    });
    expect(ordering.done).toEqual(['child']);
  });

  it('the transaction of somebody else is refused', async () => {
    const { workflows, acting, prisma } = await start();
    acting.act = () => prisma.$transaction((tx) => workflows.start(Ordering, { tx }).run('other'));
    const handle = await workflows.start(Acting).run();
    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_FORBIDDEN_IN_STEP' });
  });
});

describe('A transaction that fails in a workflow which its queue runs again', () => {
  it('is run again as well', async () => {
    const { workflows, acting } = await start();
    let calls = 0;
    acting.act = () => {
      calls += 1;
      if (calls === 1) throw new Error('not yet');
    };
    const handle = await workflows.enqueue(Acting, { queue: RETRYING }).twice();

    expect(await handle.result()).toBe('in the end');
    expect(calls).toBe(2);
  });
});

describe('In a workflow, tx is refused', () => {
  async function refusedIn(method: 'inStep' | 'betweenSteps'): Promise<unknown> {
    const test = await start();
    const id = randomUUID();
    test.acting.elsewhere = () =>
      test.prisma.$transaction((tx) =>
        test.workflows.start(Ordering, { tx, workflowId: id }).run('twice'),
      );
    const handle = await test.workflows.start(Acting)[method]();
    const refusal: unknown = await handle.result().catch((error: unknown) => error);
    expect(await workflowsNamed(test, id)).toEqual([]);
    return refusal;
  }

  it('in an ordinary step, which may run again', async () => {
    expect(await refusedIn('inStep')).toMatchObject({ code: 'DBOS_FORBIDDEN_IN_STEP' });
  });

  it('between the steps, where a replay would do it again', async () => {
    expect(await refusedIn('betweenSteps')).toMatchObject({ code: 'DBOS_INVALID_ARGUMENT' });
  });
});

describe('A transaction of a database without workflow tables', () => {
  it('is refused by name', async () => {
    const { workflows } = await start();
    const empty = await createEmptyDatabase();
    const stranger = openPrisma(empty.url);
    try {
      await expect(
        stranger.$transaction((tx) => workflows.start(Ordering, { tx }).run('lost')),
      ).rejects.toMatchObject({ code: 'DBOS_FOREIGN_TRANSACTION' });
    } finally {
      await stranger.$disconnect();
      await empty.drop();
    }
  });
});
