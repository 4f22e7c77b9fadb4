// The program of one process of the fleet: a small Nest application that does what the supervisor orders.
import { Logger, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { PrismaPg } from '@prisma/adapter-pg';
import { DbosModule, WorkflowService } from 'nestjs-dbos';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import type { AppSettings, FromApp, Order, ToApp, WorkName } from './chaos-protocol.js';
import { Bodies, Chain, Job, Once, Poison, Receiver, Sender, Ticking } from './chaos-workflows.js';
import { QUEUES } from './chaos-queues.js';
import { MarkFile } from './marks.js';

const PRISMA = 'ChaosPrisma';
const WORK = { Chain, Job, Receiver, Sender, Poison, Once };

async function start(settings: AppSettings): Promise<WorkflowService> {
  const { url, pool, leaseMs, schedules } = settings;
  const prisma = new PrismaClient({
    adapter: new PrismaPg({ connectionString: url, max: pool, connectionTimeoutMillis: 5_000 }),
  });

  @Module({
    imports: [
      DbosModule.forRoot({
        prisma: PRISMA,
        leaseMs,
        pollIntervalMs: 200,
        statementTimeoutMs: 2_000,
        parkAfterMs: 500,
        databasePatienceMs: 5_000,
        shutdown: { graceMs: 500 },
      }),
      ...QUEUES.map((queue) => DbosModule.registerQueue(queue)),
    ],
    providers: [
      { provide: PRISMA, useValue: prisma },
      { provide: MarkFile, useValue: new MarkFile(settings.ledger) },
      Bodies,
      ...Object.values(WORK),
      ...(schedules ? [Ticking] : []),
    ],
  })
  class ChaosModule {}

  const app = await NestFactory.createApplicationContext(ChaosModule, {
    logger: ['warn', 'error'],
    abortOnError: false,
  });
  app.enableShutdownHooks(['SIGTERM']);
  return app.get(WorkflowService);
}

/** Resolves with the id of what is durable now. */
async function carryOut(workflows: WorkflowService, order: Order): Promise<string> {
  switch (order.what) {
    case 'start':
      return (await begin(workflows, order)).workflowId;
    case 'enqueue': {
      const { queue, id: workflowId, args, partitionKey, deduplicationId } = order;
      const handle = await workflows
        .enqueue(Job, {
          queue,
          workflowId,
          ...(partitionKey !== undefined && { partitionKey }),
          ...(deduplicationId !== undefined && { deduplicationId, deduplication: 'attach' }),
        })
        .run(...(args as [number, object]));
      return handle.workflowId;
    }
    case 'send': {
      const { to, value, key } = order;
      return workflows.send(to, value, { topic: 'outside', idempotencyKey: key }).then(() => to);
    }
    default:
      return order satisfies never;
  }
}

function begin(
  workflows: WorkflowService,
  { name, id, args }: Order & { readonly what: 'start' },
): Promise<{ readonly workflowId: string }> {
  const type = WORK[name satisfies WorkName] as unknown as new () => {
    run(...args: unknown[]): unknown;
  };
  return workflows.start(type, { workflowId: id }).run(...args);
}

const tell = (message: FromApp): void => void process.send?.(message);

let workflows: WorkflowService | undefined;

async function obey(message: ToApp): Promise<void> {
  if (message.what === 'go') {
    workflows = await start(message.settings);
    return tell({ what: 'ready' });
  }
  try {
    if (!workflows) throw new Error('The process was given no settings.');
    tell({ what: 'done', n: message.n, id: await carryOut(workflows, message.order) });
  } catch (error) {
    const { code = 'none', message: text = String(error) } = error as Partial<
      Error & { code: string }
    >;
    tell({ what: 'refused', n: message.n, code, message: text });
  }
}

process.on('message', (message: ToApp) => {
  obey(message).catch((error: unknown) => {
    Logger.error(error);
    process.exit(1);
  });
});
// Without its supervisor it has no purpose.
process.on('disconnect', () => process.exit());
tell({ what: 'loaded' });
