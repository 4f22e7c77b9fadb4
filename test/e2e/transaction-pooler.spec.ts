// Transactions of an application whose pool leads through a pooler in transaction mode.
import { Injectable } from '@nestjs/common';
import { Transaction, Workflow, WorkflowContext } from 'nestjs-dbos';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { PgBouncer } from '../support/pgbouncer.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

@Injectable()
class Counting {
  calls = 0;

  constructor(private readonly flow: WorkflowContext) {}

  /** In the way of all others that do so at the same time. */
  @Transaction({ isolationLevel: 'Serializable' })
  async increment(sku: string): Promise<number> {
    this.calls += 1;
    const tx = this.flow.prisma<PrismaClient>();
    const { stock } = await tx.product.findUniqueOrThrow({ where: { sku } });
    await tx.product.update({ where: { sku }, data: { stock: stock + 1 } });
    return stock + 1;
  }

  @Workflow({ name: 'increment' })
  async run(sku: string): Promise<number> {
    return this.increment(sku);
  }
}

const hasPooler = PgBouncer.isInstalled();
const reason = hasPooler ? '' : ' (skipped: there is no pgbouncer on this machine)';

(hasPooler ? describe : describe.skip)(`Through a pooler in transaction mode${reason}`, () => {
  let database: TestDatabase;
  let bouncer: PgBouncer;
  let app: TestApp;

  beforeAll(async () => {
    database = await createTestDatabase();
    bouncer = await PgBouncer.start(database.url, 3);
    app = await startTestApp({ url: bouncer.url, providers: [Counting], poolSize: 5 });
    const product = { sku: 'hot', name: 'hot', priceCents: 1, stock: 0, warehouse: 'north' };
    await app.prisma.product.create({ data: product });
  });

  afterAll(async () => {
    await app.close();
    await bouncer.stop();
    await database.drop();
  });

  it('conflicting transactions of workflows are all committed, once', async () => {
    const handles = await Promise.all(
      Array.from({ length: 12 }, () => app.workflows.start(Counting).run('hot')),
    );
    const stocks = await Promise.all(handles.map((handle) => handle.result()));

    expect(stocks.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, n) => n + 1));
    expect(app.get(Counting).calls).toBeGreaterThanOrEqual(12);
  });

  it('a workflow that was started in a transaction runs after its commit', async () => {
    const handle = await app.prisma.$transaction(async (tx) => {
      await tx.product.update({ where: { sku: 'hot' }, data: { stock: 100 } });
      return app.workflows.start(Counting, { tx }).run('hot');
    });
    expect(await handle.result()).toBe(101);
  });
});
