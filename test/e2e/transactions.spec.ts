// Transactions: what a step writes in the application's own transaction, and its checkpoint, are one commit.
import { Injectable } from '@nestjs/common';
import {
  Step,
  Transaction,
  TransactionConflictError,
  WorkflowContext,
  type TransactionDecoratorOptions,
  type TransactionOf,
} from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { eventually } from '../support/eventually.js';
import { recorded, thrownBy, useScriptedApps, type ScriptedApp } from '../support/scripted-app.js';

type Tx = TransactionOf<PrismaClient>;
type Work<T> = (transaction: Tx) => T | Promise<T>;

/** A provider whose transaction does what a test wants. */
function transactional(options: TransactionDecoratorOptions = {}) {
  @Injectable()
  class Transactional {
    constructor(private readonly flow: WorkflowContext) {}

    @Transaction({ name: 'write', ...options })
    async write<T>(work: Work<T>): Promise<T> {
      return work(this.flow.prisma<PrismaClient>());
    }

    @Step({ name: 'step' })
    async step<T>(work: () => T | Promise<T>): Promise<T> {
      return work();
    }
  }
  return Transactional;
}

const Shop = transactional();
const Hasty = transactional({ maxRetries: 1 });
const Serializable = transactional({ isolationLevel: 'Serializable' });
const Brief = transactional({ timeoutMs: 50 });
const Reader = transactional({ readOnly: true });
const apps = useScriptedApps({ providers: [Shop, Hasty, Serializable, Brief, Reader] });

let products = 0;

function product(sku: string) {
  return { sku, name: sku, priceCents: 100, stock: 5, warehouse: 'north' };
}

function newSku(): string {
  return `sku-${(products += 1)}`;
}

/** How many rows of the product there are: 0 or 1. */
function rowsOf({ prisma }: ScriptedApp, sku: string): Promise<number> {
  return prisma.product.count({ where: { sku } });
}

const inserting = (sku: string) => async (tx: Tx) => {
  await tx.product.create({ data: product(sku) });
  return `made ${sku}`;
};

/** Records an outcome for the step, as an execution elsewhere would that was first. */
async function anotherWas(
  app: ScriptedApp,
  workflowId: string,
  { output = null, error = null }: { output?: string | null; error?: string | null },
): Promise<void> {
  await app.prisma.$executeRaw`
    INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, error, started_at)
    VALUES (${workflowId}, '0', 'write', 1, 'json', ${output}, ${error}, now())`;
}

describe('A transaction of a workflow', () => {
  it('commits what it wrote, and gives back what it returned', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    const handle = await app.begin(() => app.get(Shop).write(inserting(sku)));

    expect(await handle.result()).toBe(`made ${sku}`);
    expect(await rowsOf(app, sku)).toBe(1);
    expect(await app.workflows.steps(handle.workflowId)).toMatchObject([
      { stepId: '0', name: 'write', output: `made ${sku}`, attempts: 1 },
    ]);
  });

  it('costs one statement beside those of the application', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    const handle = await app.begin(async ({ flow }) => {
      await flow.step('before', () => null);
      app.faults.statements.length = 0;
      await app.get(Shop).write(inserting(sku));
      return app.faults.statements.filter((sql) => /TRANSACTION|dbos\.(record|write)_/.test(sql));
    });

    expect((await handle.result()).map((sql) => /TRANSACTION|dbos\.\w+/.exec(sql)?.[0])).toEqual([
      'dbos.write_transitions_of_one', // of the step before
      'TRANSACTION',
      'dbos.record_transaction',
    ]);
  });

  it('B21: that was committed before its process died is not run again', async () => {
    const sku = newSku();
    let calls = 0;
    const { app, handle } = await apps.relive(async ({ get, die }) => {
      const made = await get(Shop).write(async (tx) => {
        calls += 1;
        return inserting(sku)(tx);
      });
      await die();
      return made;
    });

    expect(await handle.result()).toBe(`made ${sku}`);
    expect(calls).toBe(1);
    expect(await rowsOf(app, sku)).toBe(1);
  });

  it('B21: is rolled back when its body throws, and the error is recorded', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    const handle = await app.begin(async () => {
      const error = await thrownBy(() =>
        app.get(Shop).write(async (tx) => {
          await inserting(sku)(tx);
          throw new Error('sold out');
        }),
      );
      return error.message;
    });

    expect(await handle.result()).toBe('sold out');
    expect(await rowsOf(app, sku)).toBe(0);
    expect(await app.workflows.steps(handle.workflowId)).toMatchObject([
      { name: 'write', error: { message: 'sold out' }, attempts: 1 },
    ]);
  });

  it('is rolled back when what it returned cannot be kept', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    const handle = await app.begin(() =>
      app.get(Shop).write(async (tx) => {
        await inserting(sku)(tx);
        return () => sku;
      }),
    );

    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_UNSERIALIZABLE_VALUE' });
    expect(await rowsOf(app, sku)).toBe(0);
  });

  it('fails with what the database says of its writes, be it at the commit', async () => {
    const app = await apps.start();
    await app.prisma.$executeRaw`CREATE TABLE once (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)`;
    const handle = await app.begin(() =>
      app.get(Shop).write((tx) => tx.$executeRaw`INSERT INTO once VALUES (1), (1)`),
    );

    await expect(handle.result()).rejects.toThrow('UniqueConstraintViolation');
    expect(await app.workflows.steps(handle.workflowId)).toMatchObject([{ attempts: 1 }]);
  });

  it('that goes on after a failed statement is told that nothing was committed', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    const handle = await app.begin(() =>
      app.get(Shop).write(async (tx) => {
        await inserting(sku)(tx);
        await tx.$queryRaw`SELECT 1 / 0`.catch(() => undefined);
      }),
    );

    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_TRANSACTION_ABORTED' });
    expect(await rowsOf(app, sku)).toBe(0);
  });
});

describe('B20: a duplicate of a transaction that was committed elsewhere', () => {
  it('is rolled back and returns what the other returned', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    let calls = 0;
    const handle = await app.begin(({ flow }) =>
      app.get(Shop).write(async (tx) => {
        calls += 1;
        await anotherWas(app, flow.workflowId, { output: '"theirs"' });
        return inserting(sku)(tx);
      }),
    );

    expect(await handle.result()).toBe('theirs');
    expect(calls).toBe(1);
    expect(await rowsOf(app, sku)).toBe(0);
  });

  it('throws the error of the other', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    const handle = await app.begin(({ flow }) =>
      app.get(Shop).write(async (tx) => {
        const error = '{"name":"Error","message":"their failure"}';
        await anotherWas(app, flow.workflowId, { error });
        return inserting(sku)(tx);
      }),
    );

    await expect(handle.result()).rejects.toThrow('their failure');
    expect(await rowsOf(app, sku)).toBe(0);
  });

  it('returns what the other returned although its own body failed', async () => {
    const app = await apps.start();
    const handle = await app.begin(({ flow }) =>
      app.get(Shop).write(async () => {
        await anotherWas(app, flow.workflowId, { output: '"theirs"' });
        throw new Error('ours');
      }),
    );

    expect(await handle.result()).toBe('theirs');
  });
});

describe('A run that has lost its workflow', () => {
  it('commits nothing', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    const reached = deferred<void>();
    const handle = await app.begin(({ flow }) =>
      app.get(Shop).write(async (tx) => {
        await inserting(sku)(tx);
        await app.prisma.$executeRaw`
          UPDATE dbos.workflows SET epoch = 9, executor_id = 'another' WHERE id = ${flow.workflowId}`;
        reached.resolve();
      }),
    );
    await reached.promise;
    await eventually(() => expect(app.faults.matching('record_transaction')).toHaveLength(1));

    expect(await rowsOf(app, sku)).toBe(0);
    expect(await recorded(app, handle.workflowId)).toEqual([]);
  });

  it('keeps whoever takes over waiting until its commit is decided', async () => {
    const app = await apps.start();
    await app.prisma.$executeRaw`CREATE TABLE slow (id int)`;
    // The commit takes as long as the take-over needs to be seen waiting.
    await app.prisma.$executeRaw`
      CREATE FUNCTION wait_for_takeover() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        FOR _ IN 1..500 LOOP
          PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
          EXIT WHEN EXISTS (SELECT FROM pg_stat_activity
                             WHERE wait_event_type = 'Lock' AND query LIKE '%take-over%'
                               AND datname = current_database());
        END LOOP;
        RETURN NULL;
      END $$`;
    await app.prisma.$executeRaw`
      CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION wait_for_takeover()`;
    const handle = await app.begin(() =>
      app.get(Shop).write((tx) => tx.$executeRaw`INSERT INTO slow VALUES (1)`),
    );
    await eventually(async () =>
      expect(
        await app.prisma.$queryRaw`
          SELECT FROM pg_stat_activity
           WHERE datname = current_database() AND state = 'active' AND query = 'COMMIT'`,
      ).toHaveLength(1),
    );
    await app.prisma.$executeRaw`
      UPDATE dbos.workflows SET epoch = epoch + 1 /* take-over */ WHERE id = ${handle.workflowId} AND status = 'PENDING'`;

    expect(await recorded(app, handle.workflowId)).toEqual(['0 write']);
  });
});

describe('Transactions in conflict', () => {
  it('are tried again until all have been committed', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    await app.prisma.product.create({ data: { ...product(sku), stock: 0 } });
    const increment = async (tx: Tx): Promise<void> => {
      const { stock } = await tx.product.findUniqueOrThrow({ where: { sku } });
      await tx.product.update({ where: { sku }, data: { stock: stock + 1 } });
    };
    const handles = await Promise.all(
      Array.from({ length: 20 }, () => app.begin(() => app.get(Serializable).write(increment))),
    );
    await Promise.all(handles.map((handle) => handle.result()));

    expect(await app.prisma.product.findUnique({ where: { sku } })).toMatchObject({ stock: 20 });
  });

  it.each(['40001', '40P01'])('are known by %s, whatever it is wrapped in', async (sqlState) => {
    const app = await apps.start();
    let calls = 0;
    const handle = await app.begin(() =>
      app.get(Shop).write(async (tx) => {
        calls += 1;
        if (calls > 1) return 'through';
        const raise = tx.$executeRawUnsafe(`DO $$ BEGIN RAISE SQLSTATE '${sqlState}'; END $$`);
        return raise.catch((cause: unknown) => {
          throw new Error('Could not book.', { cause });
        });
      }),
    );

    expect(await handle.result()).toBe('through');
    expect(await app.workflows.steps(handle.workflowId)).toMatchObject([{ attempts: 2 }]);
  });

  it('give up after maxRetries, with an error that says so', async () => {
    const app = await apps.start();
    const handle = await app.begin(() =>
      app
        .get(Hasty)
        .write((tx) => tx.$executeRawUnsafe(`DO $$ BEGIN RAISE SQLSTATE '40001'; END $$`)),
    );

    await expect(handle.result()).rejects.toMatchObject({
      code: new TransactionConflictError('write', 2, undefined).code,
      attempts: 2,
    });
  });
});

describe('A transaction that meets a fault of the database', () => {
  it('is not run again when it was committed and only the news of it was lost', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    let calls = 0;
    app.faults.loseAnswerOfNext('TRANSACTION');
    const handle = await app.begin(() =>
      app.get(Shop).write(async (tx) => {
        calls += 1;
        return inserting(sku)(tx);
      }),
    );

    expect(await handle.result()).toBe(`made ${sku}`);
    expect(calls).toBe(1);
  });

  it('is run again when its connection is lost in the middle', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    let calls = 0;
    const handle = await app.begin(() =>
      app.get(Shop).write(async (tx) => {
        calls += 1;
        if (calls === 1) {
          const [backend] = await tx.$queryRaw<
            Array<{ pid: number }>
          >`SELECT pg_backend_pid() AS pid`;
          await app.prisma.$queryRaw`SELECT pg_terminate_backend(${backend?.pid}::int)`;
        }
        return inserting(sku)(tx);
      }),
    );

    expect(await handle.result()).toBe(`made ${sku}`);
    expect(calls).toBe(2);
  });

  it('is run again when the server took no writes for a while', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    let calls = 0;
    const handle = await app.begin(() =>
      app.get(Shop).write(async (tx) => {
        calls += 1;
        // As its sessions are while a replica is being promoted.
        if (calls === 1) await tx.$executeRaw`SET TRANSACTION READ ONLY`;
        return inserting(sku)(tx);
      }),
    );

    expect(await handle.result()).toBe(`made ${sku}`);
    expect(calls).toBe(2);
  });

  it('is run again when no connection came free for it', async () => {
    const app = await apps.start();
    app.faults.failNext('TRANSACTION');
    const handle = await app.begin(() => app.get(Shop).write(() => 'through'));

    expect(await handle.result()).toBe('through');
    expect(await app.workflows.steps(handle.workflowId)).toMatchObject([{ attempts: 2 }]);
  });

  it('fails when it takes longer than its time, again and again', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    let calls = 0;
    const handle = await app.begin(() =>
      app.get(Brief).write(async (tx) => {
        calls += 1;
        await tx.$executeRaw`SELECT pg_sleep(0.2)`;
        await inserting(sku)(tx);
      }),
    );

    await expect(handle.result()).rejects.toMatchObject({ code: 'DBOS_TRANSACTION_EXPIRED' });
    expect(calls).toBe(3);
    expect(await rowsOf(app, sku)).toBe(0);
  });
});

describe('A transaction in a step', () => {
  it('is refused, and neither runs nor takes a step id', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    const handle = await app.begin(() =>
      app.get(Shop).step(() => app.get(Shop).write(inserting(sku))),
    );

    await expect(handle.result()).rejects.toThrow(
      'Transaction "write" cannot be called inside step',
    );
    expect(await rowsOf(app, sku)).toBe(0);
    expect(await recorded(app, handle.workflowId)).toEqual(['0 step']);
  });

  it('is refused in another transaction, in a workflow or not', async () => {
    const app = await apps.start();
    const nested = () => app.get(Shop).write(() => app.get(Hasty).write(() => null));
    const refusal = { code: 'DBOS_FORBIDDEN_IN_STEP' };
    const handle = await app.begin(nested);

    await expect(handle.result()).rejects.toMatchObject(refusal);
    await expect(nested()).rejects.toMatchObject(refusal);
  });

  it('may contain steps, which are part of it', async () => {
    const app = await apps.start();
    const handle = await app.begin(() =>
      app.get(Shop).write(() => app.get(Shop).step(() => 'part of it')),
    );

    expect(await handle.result()).toBe('part of it');
    expect(await recorded(app, handle.workflowId)).toEqual(['0 write']);
  });
});

describe('A transaction outside of a workflow', () => {
  it('is committed', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    await app.get(Shop).write(inserting(sku));
    expect(await rowsOf(app, sku)).toBe(1);
  });

  it('is rolled back when it throws, and not tried again', async () => {
    const [app, sku] = [await apps.start(), newSku()];
    let calls = 0;
    const failing = app.get(Shop).write(async (tx) => {
      calls += 1;
      await inserting(sku)(tx);
      await tx.$executeRawUnsafe(`DO $$ BEGIN RAISE SQLSTATE '40001'; END $$`);
    });

    await expect(failing).rejects.toMatchObject({ code: 'P2010' });
    expect(calls).toBe(1);
    expect(await rowsOf(app, sku)).toBe(0);
  });

  it('has no client where none is open', async () => {
    const app = await apps.start();
    expect(() => app.app.get(WorkflowContext).prisma<PrismaClient>()).toThrow(
      expect.objectContaining({ code: 'DBOS_NOT_IN_TRANSACTION' }),
    );
  });
});

describe('A transaction that only reads', () => {
  it('is refused to write', async () => {
    const app = await apps.start();
    const handle = await app.begin(() => app.get(Reader).write(inserting(newSku())));
    await expect(handle.result()).rejects.toThrow('read-only transaction');
  });

  it('has its value recorded, which a replay gets', async () => {
    const app = await apps.start();
    const handle = await app.begin(() =>
      app.get(Reader).write(async (tx) => tx.product.count({ where: { sku: 'none' } })),
    );

    expect(await handle.result()).toBe(0);
    expect(await app.workflows.steps(handle.workflowId)).toMatchObject([
      { name: 'write', output: 0 },
    ]);
    expect(app.faults.matching('record_transaction')).toEqual([]);
  });
});

describe('The options of a transaction', () => {
  it.each([
    [{ maxRetries: -1 }, 'maxRetries must be a whole number of at least 0, or Infinity, not -1'],
    [{ timeoutMs: 0 }, 'timeoutMs must be a finite number above 0, not 0'],
    [{ maxWaitMs: Number.NaN }, 'maxWaitMs must be a finite number above 0, not NaN'],
    [{ isolationLevel: 'Snapshot' as 'Serializable' }, 'isolationLevel must be one of'],
    [{ readOnly: 'yes' as unknown as boolean }, 'readOnly must be true or false, not yes'],
  ])('%j are refused where they are written', (options, message) => {
    expect(() => transactional(options)).toThrow(message);
  });

  it('reach the database', async () => {
    const app = await apps.start();
    const level = await app
      .get(Serializable)
      .write((tx) => tx.$queryRaw`SELECT current_setting('transaction_isolation') AS level`);
    expect(level).toEqual([{ level: 'serializable' }]);
  });
});
