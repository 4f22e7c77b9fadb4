// A shop whose repositories write by the transaction host of nestjs-cls, and whose steps are transactions of the library.
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  ClsPluginTransactional,
  Propagation,
  Transactional,
  TransactionHost,
} from '@nestjs-cls/transactional';
import { TransactionalAdapterPrisma } from '@nestjs-cls/transactional-adapter-prisma';
import { PrismaPg } from '@prisma/adapter-pg';
import { ClsModule } from 'nestjs-cls';
import { DbosModule, Transaction, Workflow, WorkflowContext, WorkflowService } from 'nestjs-dbos';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';

type Host = TransactionHost<TransactionalAdapterPrisma<PrismaClient>>;

const SHOP = 'ShopPrisma';
const JOINED = 'JoinedPrisma';

export class ChangedMind extends Error {}

/** Knows nothing of workflows: writes by whatever transaction it is called in. */
@Injectable()
class Products {
  constructor(private readonly host: TransactionHost<TransactionalAdapterPrisma<PrismaClient>>) {}

  @Transactional()
  async add(sku: string): Promise<void> {
    const product = { sku, name: sku, priceCents: 1, stock: 1, warehouse: 'north' };
    await this.host.tx.product.create({ data: product });
  }
}

@Injectable()
export class ClsShop {
  constructor(
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
    private readonly products: Products,
    private readonly host: TransactionHost<TransactionalAdapterPrisma<PrismaClient>>,
  ) {}

  /** Writes by both clients; resolves with the stock by the first one, as the second one left it. */
  @Transaction()
  async add(sku: string, fails = false): Promise<number> {
    await this.products.add(sku);
    const tx = this.flow.prisma<PrismaClient>();
    await tx.product.updateMany({ where: { sku }, data: { stock: { increment: 1 } } });
    if (fails) throw new ChangedMind('after all not');
    return (await this.host.tx.product.findUniqueOrThrow({ where: { sku } })).stock;
  }

  @Transaction()
  async startChild(sku: string): Promise<null> {
    await this.workflows.start(ClsShop, { tx: this.host.tx, workflowId: `child ${sku}` }).run(sku);
    return null;
  }

  @Workflow({ name: 'add' })
  async run(sku: string, fails = false): Promise<number> {
    return this.add(sku, fails);
  }

  @Workflow({ name: 'add by a child' })
  async runChild(sku: string): Promise<void> {
    await this.startChild(sku);
  }

  /** Its own code, between steps, opens a transaction that is none of its steps. */
  @Workflow({ name: 'wrapped' })
  async wrapped(sku: string): Promise<string> {
    return this.rolledBack(() => this.add(sku)).catch((error: Error) => error.message);
  }

  @Transactional()
  async rolledBack(work: () => Promise<unknown>): Promise<never> {
    await work();
    throw new ChangedMind('after all not');
  }

  @Transactional()
  async committed<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }
}

/** The application's client, whose transactions are those of the host: as docs/transactions.md has it. */
const joined = {
  provide: JOINED,
  inject: [SHOP, TransactionHost, WorkflowContext],
  useFactory: (prisma: PrismaClient, host: Host, flow: WorkflowContext) =>
    prisma.$extends({
      client: {
        $transaction: <T>(work: (tx: Host['tx']) => Promise<T>, options = {}) => {
          const propagation = flow.isInWorkflow ? Propagation.RequiresNew : Propagation.Required;
          return host.withTransaction(propagation, options, () => work(host.tx));
        },
      },
    }),
};

export async function startClsShop(url: string) {
  const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: 5 }) });

  @Module({ providers: [{ provide: SHOP, useValue: prisma }], exports: [SHOP] })
  class ShopPrismaModule {}

  @Module({
    imports: [
      ShopPrismaModule,
      ClsModule.forRoot({
        plugins: [
          new ClsPluginTransactional({
            imports: [ShopPrismaModule],
            adapter: new TransactionalAdapterPrisma<PrismaClient>({ prismaInjectionToken: SHOP }),
          }),
        ],
      }),
      DbosModule.forRoot({
        prisma: SHOP,
        sessionUrl: false,
        pollIntervalMs: 20,
        transactionClients: [{ prisma: JOINED }],
      }),
    ],
    providers: [joined, Products, ClsShop],
  })
  class ClsShopModule {}

  const app = await NestFactory.createApplicationContext(ClsShopModule, {
    logger: ['warn', 'error'],
    abortOnError: false,
  });
  return {
    prisma,
    shop: app.get(ClsShop),
    workflows: app.get(WorkflowService),
    host: app.get<Host>(TransactionHost),
  };
}
