// Whose transactions steps may be: an extended client's, one of several services', and those of nobody unknown.
import { Injectable } from '@nestjs/common';
import { Transaction, Workflow, WorkflowContext, WorkflowService } from 'nestjs-dbos';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { FaultyClient } from '../support/faulty-client.js';
import { NestApps, openPrisma } from '../support/nest-app.js';

let apps: NestApps;
let second: PrismaClient;

beforeAll(async () => {
  apps = await NestApps.open();
  second = openPrisma(apps.url);
});
afterEach(() => apps.endAll());
afterAll(async () => {
  await second.$disconnect();
  await apps.close();
});

/** A model method and a query of its own, as applications add them. */
function extended(client: PrismaClient) {
  return client.$extends({
    name: 'shop',
    model: { product: { shout: (sku: string) => sku.toUpperCase() } },
    query: {
      product: {
        create: ({ args, query }) =>
          query({ ...args, data: { ...args.data, name: 'named by the extension' } }),
      },
    },
  });
}

type Extended = ReturnType<typeof extended>;

const product = (sku: string) => ({ sku, name: sku, priceCents: 1, stock: 1, warehouse: 'north' });

describe('An extended client', () => {
  const EXTENDED = 'ExtendedPrisma';

  @Injectable()
  class Shop {
    fails = false;

    constructor(private readonly flow: WorkflowContext) {}

    @Transaction({ prisma: EXTENDED })
    async add(sku: string): Promise<string> {
      const tx = this.flow.prisma<Extended>();
      await tx.product.create({ data: product(sku) });
      if (this.fails) throw new Error('after all not');
      return tx.product.shout(sku);
    }

    @Workflow({ name: 'add' })
    async run(sku: string): Promise<string> {
      return this.add(sku);
    }
  }

  const start = () =>
    apps.start([{ provide: EXTENDED, useFactory: () => extended(second) }, Shop], {
      options: { transactionClients: [{ prisma: EXTENDED }] },
    });

  it('keeps its extensions in transactions, which are one commit with their checkpoints', async () => {
    const { workflows, prisma } = await start();
    const handle = await workflows.start(Shop).run('extended');

    expect(await handle.result()).toBe('EXTENDED');
    expect(await prisma.product.findUnique({ where: { sku: 'extended' } })).toMatchObject({
      name: 'named by the extension',
    });
    expect(await workflows.steps(handle.workflowId)).toMatchObject([{ output: 'EXTENDED' }]);
  });

  it('rolls back what it wrote when the method throws', async () => {
    const { app, workflows, prisma } = await start();
    app.get(Shop).fails = true;

    await expect(workflows.execute(Shop).run('undone')).rejects.toThrow('after all not');
    expect(await prisma.product.count({ where: { sku: 'undone' } })).toBe(0);
  });

  it('may be the client of the module itself', async () => {
    const { workflows } = await apps.start(
      [{ provide: EXTENDED, useFactory: () => extended(second) }, Shop],
      { options: { prisma: EXTENDED } },
    );
    expect(await workflows.execute(Shop).run('of the module')).toBe('OF THE MODULE');
  });
});

describe('Of several clients', () => {
  const [FIRST, SECOND] = ['FirstPrisma', 'SecondPrisma'];

  @Injectable()
  class Shop {
    constructor(
      private readonly flow: WorkflowContext,
      private readonly workflows: WorkflowService,
    ) {}

    @Transaction()
    async byDefault(): Promise<void> {
      await this.flow.prisma<PrismaClient>().$executeRaw`SELECT 1`;
    }

    @Transaction({ prisma: SECOND })
    async bySecond(): Promise<void> {
      await this.flow.prisma<PrismaClient>().$executeRaw`SELECT 1`;
    }

    @Workflow({ name: 'both' })
    async run(): Promise<number> {
      await this.byDefault();
      await this.bySecond();
      await this.bySecond();
      return (await this.workflows.steps(this.flow.workflowId)).length;
    }
  }

  it('the first is used by default, another where it is named', async () => {
    const clients = [new FaultyClient(second), new FaultyClient(second)] as const;
    const { workflows } = await apps.start(
      [
        { provide: FIRST, useValue: clients[0].client },
        { provide: SECOND, useValue: clients[1].client },
        Shop,
      ],
      { options: { transactionClients: [{ prisma: FIRST }, { prisma: SECOND }] } },
    );
    await workflows.execute(Shop).run();

    expect(clients.map((client) => client.matching('TRANSACTION').length)).toEqual([1, 2]);
  });

  it('one that nobody listed is refused at the start, by name', async () => {
    const nestApp = await apps.create({ providers: [Shop] });
    await expect(nestApp.app.init()).rejects.toMatchObject({
      code: 'DBOS_REGISTRATION',
      message: expect.stringContaining('"SecondPrisma"') as string,
    });
  });

  it('one of another database is refused at the start', async () => {
    const other: TestDatabase = await createTestDatabase();
    const stranger = openPrisma(other.url);
    const nestApp = await apps.create({
      providers: [{ provide: SECOND, useValue: stranger }, Shop],
      options: { transactionClients: [{ prisma: SECOND }] },
    });
    await expect(nestApp.app.init()).rejects.toMatchObject({ code: 'DBOS_FOREIGN_TRANSACTION' });
    await stranger.$disconnect();
    await other.drop();
  });
});
