// The program of one process of the fleet: a small Nest application that does what the supervisor orders.
import { Logger, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { PrismaPg } from '@prisma/adapter-pg';
import { DbosModule, WorkflowService } from 'nestjs-dbos';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import type { AppSettings, FromApp, Order, ToApp, WorkName } from './chaos-protocol.js';
import {
  Bodies,
  Chain,
  Job,
  Once,
  Poison,
  Receiver,
  releaseOf,
  Sender,
  Ticking,
} from './chaos-workflows.js';
import { QUEUES } from './chaos-queues.js';
import { MarkFile } from './marks.js';

const PRISMA = 'ChaosPrisma';
/** As a start takes it, whatever its arguments are. */
type WorkClass = new () => { run(...given: unknown[]): Promise<unknown> };
const ALWAYS = { Chain, Job, Receiver, Sender, Poison, Once };

/** The versions up to this one, the first one first. */
const releasesUntil = (version: number): number[] =>
  Array.from({ length: version }, (_, before) => before + 1);

/** What this version of the application can do: all that those before it could, and its own. */
function workOf(version: number): Record<string, WorkClass> {
  const releases = releasesUntil(version);
  const added = Object.fromEntries(releases.map((one) => [`Release${one}`, releaseOf(one)]));
  return { ...ALWAYS, ...added } as unknown as Record<string, WorkClass>;
}

async function start(settings: AppSettings): Promise<App> {
  const { url, pool, leaseMs, schedules, version } = settings;
  const work = workOf(version);
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
        applicationVersion: `v${version}`,
        compatibleVersions: releasesUntil(version - 1).map((former) => `v${former}`),
      }),
      ...QUEUES.map((queue) => DbosModule.registerQueue(queue)),
    ],
    providers: [
      { provide: PRISMA, useValue: prisma },
      { provide: MarkFile, useValue: new MarkFile(settings.ledger) },
      Bodies,
      ...Object.values(work),
      ...(schedules ? [Ticking] : []),
    ],
  })
  class ChaosModule {}

  const nest = await NestFactory.createApplicationContext(ChaosModule, {
    logger: ['warn', 'error'],
    abortOnError: false,
  });
  nest.enableShutdownHooks(['SIGTERM']);
  return { workflows: nest.get(WorkflowService), work };
}

/** Resolves with the id of what is durable now. */
async function carryOut({ workflows, work }: App, order: Order): Promise<string> {
  switch (order.what) {
    case 'start':
      return (await begin({ workflows, work }, order)).workflowId;
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
  { workflows, work }: App,
  { name, id, args }: Order & { readonly what: 'start' },
): Promise<{ readonly workflowId: string }> {
  const type = work[name satisfies WorkName];
  if (!type) throw new Error(`This version has no workflow "${name}".`);
  return workflows.start(type, { workflowId: id }).run(...args);
}

const tell = (message: FromApp): void => void process.send?.(message);

interface App {
  readonly workflows: WorkflowService;
  readonly work: Readonly<Record<string, WorkClass>>;
}

let app: App | undefined;

async function obey(message: ToApp): Promise<void> {
  if (message.what === 'go') {
    app = await start(message.settings);
    return tell({ what: 'ready' });
  }
  try {
    if (!app) throw new Error('The process was given no settings.');
    tell({ what: 'done', n: message.n, id: await carryOut(app, message.order) });
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
