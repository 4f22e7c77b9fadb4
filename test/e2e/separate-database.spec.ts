// Transactions in a database of the application that is not the one with the workflow tables.
import { Injectable } from '@nestjs/common';
import { CheckpointRepository, Transaction, WorkflowContext } from 'nestjs-dbos';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import type { TestDatabase } from '../support/database.js';
import { createEmptyDatabase } from '../support/empty-database.js';
import { eventually } from '../support/eventually.js';
import { FaultyClient } from '../support/faulty-client.js';
import { openPrisma } from '../support/nest-app.js';
import { thrownBy, useScriptedApps } from '../support/scripted-app.js';
import { startTestApp } from '../support/test-app.js';

const SHOP = 'ShopPrisma';

type Tx = Pick<PrismaClient, '$executeRaw' | '$queryRaw'>;

@Injectable()
class Shop {
  constructor(private readonly flow: WorkflowContext) {}

  @Transaction({ name: 'write' })
  async write<T>(work: (transaction: Tx) => T | Promise<T>): Promise<T> {
    return work(this.flow.prisma<PrismaClient>());
  }
}

let database: TestDatabase;
let shop: PrismaClient;
let faults: FaultyClient;
let sales = 0;

beforeAll(async () => {
  database = await createEmptyDatabase();
  shop = openPrisma(database.url);
  await shop.$executeRaw`CREATE TABLE sales (name text, no serial)`;
});
beforeEach(() => {
  faults = new FaultyClient(shop);
});
afterAll(async () => {
  await shop.$disconnect();
  await database.drop();
});

const transactionClients = [{ prisma: SHOP, separateDatabase: true }];
const providers = [{ provide: SHOP, useFactory: () => faults.client }, Shop];
const apps = useScriptedApps({ providers, options: { transactionClients } });

const newSale = (): string => `sale ${(sales += 1)}`;

const sell = (name: string) => async (tx: Tx) => {
  await tx.$executeRaw`INSERT INTO sales (name) VALUES (${name})`;
  return `sold ${name}`;
};

async function soldTimes(name: string): Promise<number> {
  const [row] = await shop.$queryRaw<Array<{ count: number }>>`
    SELECT count(*)::int AS count FROM sales WHERE name = ${name}`;
  return row?.count ?? 0;
}

function completionsOf(workflowId: string): Promise<unknown[]> {
  return shop.$queryRaw`
    SELECT step_id AS "stepId", name, output, error FROM dbos.transaction_completions
     WHERE workflow_id = ${workflowId}`;
}

describe('A transaction in another database', () => {
  it('is committed with a completion there; the checkpoint follows', async () => {
    const [app, name] = [await apps.start(), newSale()];
    const handle = await app.begin(() => app.get(Shop).write(sell(name)));

    expect(await handle.result()).toBe(`sold ${name}`);
    expect(await soldTimes(name)).toBe(1);
    expect(await completionsOf(handle.workflowId)).toEqual([
      { stepId: '0', name: 'write', output: `"sold ${name}"`, error: null },
    ]);
    expect(await app.workflows.steps(handle.workflowId)).toMatchObject([
      { name: 'write', output: `sold ${name}`, attempts: 1 },
    ]);
  });

  it('asks for no completion at its first try', async () => {
    const [app, name] = [await apps.start(), newSale()];
    const handle = await app.begin(() => app.get(Shop).write(sell(name)));
    await handle.result();
    expect(faults.matching('AND step_id = ?')).toEqual([]);
  });

  it('B21: is not run again when its process died between the commit and the checkpoint', async () => {
    const [first, name] = [await apps.start(), newSale()];
    let calls = 0;
    const script = (get: typeof first.get) => () =>
      get(Shop).write((tx) => {
        calls += 1;
        return sell(name)(tx);
      });
    first.faults.failNext('write_transitions', undefined, Infinity);
    const { workflowId } = await first.begin(script(first.get));
    await eventually(async () => expect(await completionsOf(workflowId)).toHaveLength(1));
    await first.kill();
    const second = await apps.start({ [workflowId]: ({ get }) => script(get)() });

    expect(await second.workflows.handle(workflowId).result()).toBe(`sold ${name}`);
    expect(calls).toBe(1);
    expect(await soldTimes(name)).toBe(1);
  });

  it('B21: is rolled back when its body throws, and nobody can commit it afterwards', async () => {
    const [app, name] = [await apps.start(), newSale()];
    const handle = await app.begin(async () => {
      const failing = app.get(Shop).write(async (tx) => {
        await sell(name)(tx);
        throw new Error('sold out');
      });
      return (await thrownBy(() => failing)).message;
    });

    expect(await handle.result()).toBe('sold out');
    expect(await soldTimes(name)).toBe(0);
    expect(await completionsOf(handle.workflowId)).toMatchObject([{ output: null }]);
  });

  /** As another execution would that was first. */
  async function anotherWas(
    workflowId: string,
    { output, error }: { output: string | null; error: string | null },
  ): Promise<void> {
    await shop.$executeRaw`
      INSERT INTO dbos.transaction_completions
             (workflow_id, step_id, failures, name, epoch, serialization, output, error)
      VALUES (${workflowId}, '0', 0, 'write', 1, 'json', ${output}, ${error})`;
  }

  it.each([
    ['returns what the other returned', { output: '"theirs"', error: null }, 'theirs'],
    [
      'throws what the other threw',
      { output: null, error: '{"name":"Error","message":"their failure"}' },
      'their failure',
    ],
  ])('B20: that was committed elsewhere first %s, and is rolled back', async (_, their, seen) => {
    const [app, name] = [await apps.start(), newSale()];
    const handle = await app.begin(({ flow }) =>
      app
        .get(Shop)
        .write(async (tx) => {
          await anotherWas(flow.workflowId, their);
          return sell(name)(tx);
        })
        .catch((error: Error) => error.message),
    );

    expect(await handle.result()).toBe(seen);
    expect(await soldTimes(name)).toBe(0);
  });

  it('B20: that was committed elsewhere first returns what the other returned although its own body failed', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      app.get(Shop).write(async () => {
        await anotherWas(flow.workflowId, { output: '"theirs"', error: null });
        throw new Error('ours');
      }),
    );

    expect(await handle.result()).toBe('theirs');
  });

  it('is not run again when only the news of its commit was lost', async () => {
    const [app, name] = [await apps.start(), newSale()];
    faults.loseAnswerOfNext('TRANSACTION');
    const handle = await app.begin(() => app.get(Shop).write(sell(name)));

    expect(await handle.result()).toBe(`sold ${name}`);
    expect(await soldTimes(name)).toBe(1);
  });

  it('waits for the table when that is gone: no workflow fails for it', async () => {
    const [app, name] = [await apps.start(), newSale()];
    await shop.$executeRaw`ALTER TABLE dbos.transaction_completions RENAME TO away`;
    const handle = await app.begin(() => app.get(Shop).write(sell(name)));
    await eventually(() => expect(faults.matching('ON CONFLICT').length).toBeGreaterThan(0));
    await shop.$executeRaw`ALTER TABLE dbos.away RENAME TO transaction_completions`;

    expect(await handle.result()).toBe(`sold ${name}`);
    expect(await soldTimes(name)).toBe(1);
  });

  it('is another one when the workflow is run again after a failure', async () => {
    const [app, name] = [await apps.start(), newSale()];
    const transactions = app.app.get(CheckpointRepository).transactions();
    const owner = { workflowId: name, executorId: 'any', epoch: 1 };
    const step = { owner, stepId: '0', name: 'write', attempts: 1, startedAt: performance.now() };
    for (const failures of [0, 1, 1]) {
      await transactions.commit({ ...step, failures }, { readOnly: false }, async (tx) => ({
        text: JSON.stringify(await sell(name)(tx as Tx)),
        format: 'json',
      }));
    }
    expect(await soldTimes(name)).toBe(2);
  });
});

describe('The completions', () => {
  it('of a workflow that was deleted are forgotten: its id may be used again', async () => {
    const [app, name] = [await apps.start(), newSale()];
    const first = await app.begin(() => app.get(Shop).write(sell(name)), 'used twice');
    await first.result();
    await app.workflows.delete('used twice');
    const second = await app.begin(() => app.get(Shop).write(sell(name)), 'used twice');
    await second.result();

    expect(await soldTimes(name)).toBe(2);
  });

  it('are swept once their workflows have ended or are gone, and not before', async () => {
    const app = await apps.start();
    const ended = await app.begin(() => app.get(Shop).write(() => 1));
    await ended.result();
    const going = await app.begin(async ({ flow }) => {
      await app.get(Shop).write(() => 2);
      await flow.sleep('1h');
    });
    await eventually(async () => expect(await completionsOf(going.workflowId)).toHaveLength(1));
    const { completions } = app.app.get(CheckpointRepository);
    const batch = { olderThanMs: 3_600_000, size: 1, database: 0, after: undefined };
    expect(await completions.sweep(batch)).toBeUndefined();
    expect(await completionsOf(ended.workflowId)).toHaveLength(1);

    let next: typeof batch | Awaited<ReturnType<typeof completions.sweep>> = {
      ...batch,
      olderThanMs: -1_000,
    };
    for (let batches = 0; next && batches < 100; batches += 1) next = await completions.sweep(next);
    expect(next).toBeUndefined();

    expect(await completionsOf(ended.workflowId)).toEqual([]);
    expect(await completionsOf(going.workflowId)).toHaveLength(1);
  });
});

describe('At the launch', () => {
  it('completions that nobody will ask for any more are swept', async () => {
    const gone = newSale();
    await shop.$executeRaw`
      INSERT INTO dbos.transaction_completions
             (workflow_id, step_id, failures, name, epoch, serialization, output, completed_at)
      VALUES (${gone}, '0', 0, 'write', 1, 'json', '1', now() - interval '2 hours')`;
    await apps.start();
    await eventually(async () => expect(await completionsOf(gone)).toEqual([]));
  });

  it('a database without the completion table is refused where it may not be made', async () => {
    const empty = await createEmptyDatabase();
    const stranger = openPrisma(empty.url);
    const other = { provide: SHOP, useValue: stranger };
    const options = { transactionClients, migrate: false };
    const starting = startTestApp({ url: apps.url, providers: [other], options });
    await expect(starting).rejects.toMatchObject({ code: 'DBOS_SCHEMA_BEHIND' });
    await stranger.$disconnect();
    await empty.drop();
  });

  it('a client of another database is refused where it is not said to be one', async () => {
    const options = { transactionClients: [{ prisma: SHOP }] };
    const starting = startTestApp({ url: apps.url, providers, options });
    await expect(starting).rejects.toMatchObject({ code: 'DBOS_FOREIGN_TRANSACTION' });
  });
});
