// One process under steady traffic, which tells every so often what it holds: memory after a collection, handles and
// listeners. Started with --expose-gc by `leaks.ts`.
import { Logger, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { PrismaPg } from '@prisma/adapter-pg';
import { DbosModule, WorkflowService } from 'nestjs-dbos';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { randomFrom } from '../support/random.js';
import { EverySecond, Traffic } from './leak-workflows.js';

/** What the process holds at one moment, by name. */
export type Holdings = Readonly<Record<string, number>>;

export interface LeakOrder {
  readonly url: string;
  readonly seed: number;
  readonly seconds: number;
}

export type FromLeakProgram =
  | { readonly what: 'sample'; readonly workflows: number; readonly holdings: Holdings }
  | { readonly what: 'done'; readonly workflows: number; readonly failures: readonly string[] };

const PRISMA = 'LeakPrisma';
/** So many orders are under way at once. */
const LANES = 24;
const SAMPLE_EVERY_MS = 2_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const tell = (message: FromLeakProgram): void => void process.send?.(message);

async function start(url: string): Promise<WorkflowService> {
  const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: 10 }) });

  @Module({
    imports: [
      DbosModule.forRoot({
        prisma: PRISMA,
        parkAfterMs: 100,
        retention: { maxAge: '2s', interval: '250ms', batchSize: 2_000 },
      }),
      DbosModule.registerQueue({ name: 'jobs', concurrency: 20 }),
      DbosModule.registerQueue({ name: 'parts', partition: { concurrency: 2 } }),
      DbosModule.registerQueue({ name: 'rated', rateLimit: { limit: 50, periodMs: 1_000 } }),
    ],
    providers: [{ provide: PRISMA, useValue: prisma }, Traffic, EverySecond],
  })
  class LeakModule {}

  const app = await NestFactory.createApplicationContext(LeakModule, {
    logger: ['error'],
    abortOnError: false,
  });
  return app.get(WorkflowService);
}

/** What an application does with workflows, one after the other in each lane. */
class Driver {
  count = 0;
  readonly failures: string[] = [];

  constructor(
    private readonly workflows: WorkflowService,
    private readonly random: () => number,
  ) {}

  async lane(endsAt: number): Promise<void> {
    const kinds = [this.everything, this.branches, this.fails, this.letter, this.cancelled];
    const more = [this.parked, this.job, this.partition, this.rated, this.resumed, this.debounced];
    const all = [...kinds, ...more];
    while (performance.now() < endsAt) {
      const kind = all[Math.floor(this.random() * all.length)]!;
      this.count += 1;
      await kind.call(this, this.count).catch((error: unknown) => {
        this.failures.push(`${kind.name}: ${String(error)}`);
      });
    }
  }

  private async everything(n: number): Promise<void> {
    const handle = await this.workflows.start(Traffic).everything(n);
    const id = handle.workflowId;
    const progress = this.workflows.getEvent(id, 'progress', { timeout: '1m' });
    for await (const value of this.workflows.readStream(id, 'log')) void value;
    const states = handle.status$.subscribe();
    await progress;
    await handle.result();
    states.unsubscribe();
  }

  private async branches(n: number): Promise<void> {
    await this.workflows.execute(Traffic).branches(n);
  }

  private async fails(n: number): Promise<void> {
    const handle = await this.workflows.start(Traffic).failing(n);
    await handle.result().catch(() => undefined);
  }

  private async letter(): Promise<void> {
    const handle = await this.workflows.start(Traffic).waiting();
    await pause(this.random() * 200);
    await this.workflows.send(handle.workflowId, 'dear', { topic: 'letter' });
    await handle.result();
  }

  private async cancelled(): Promise<void> {
    const handle = await this.workflows.start(Traffic).waiting();
    await pause(this.random() * 200);
    await handle.cancel();
    await handle.result().catch(() => undefined);
  }

  private async resumed(): Promise<void> {
    const handle = await this.workflows.start(Traffic).waiting();
    await handle.cancel();
    await handle.resume();
    await this.workflows.send(handle.workflowId, 'again', { topic: 'letter' });
    await handle.result();
  }

  private async parked(n: number): Promise<void> {
    await this.workflows.execute(Traffic).parked(n);
  }

  private async job(n: number): Promise<void> {
    const handle = await this.workflows.enqueue(Traffic, { queue: 'jobs' }).child(n);
    await handle.result();
  }

  private async partition(n: number): Promise<void> {
    const options = { queue: 'parts', partitionKey: `customer-${n}` };
    await (await this.workflows.enqueue(Traffic, options).child(n)).result();
  }

  private async rated(n: number): Promise<void> {
    await (await this.workflows.enqueue(Traffic, { queue: 'rated' }).child(n)).result();
  }

  private async debounced(n: number): Promise<void> {
    const options = { key: `key-${n % 50}`, periodMs: 20 };
    await (await this.workflows.debounce(Traffic, options).child(n)).result();
  }
}

function holdings(): Holdings {
  for (let round = 0; round < 3; round += 1) globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  const handles = (process as unknown as { _getActiveHandles(): NodeJS.EventEmitter[] })[
    '_getActiveHandles'
  ]();
  const emitters = [process, ...handles.filter((one) => typeof one.eventNames === 'function')];
  const listeners = emitters.reduce(
    (sum, one) =>
      sum + one.eventNames().reduce((ofOne, event) => ofOne + one.listenerCount(event), 0),
    0,
  );
  const resources = process.getActiveResourcesInfo();
  return {
    heapKiB: heapUsed / 1_024,
    externalKiB: external / 1_024,
    timers: resources.filter((kind) => kind === 'Timeout').length,
    handles: resources.filter((kind) => kind !== 'Timeout' && kind !== 'Immediate').length,
    listeners,
  };
}

async function run({ url, seed, seconds }: LeakOrder): Promise<void> {
  const driver = new Driver(await start(url), randomFrom(seed));
  const endsAt = performance.now() + seconds * 1_000;
  const lanes = Array.from({ length: LANES }, () => driver.lane(endsAt));
  while (performance.now() < endsAt) {
    await pause(SAMPLE_EVERY_MS);
    tell({ what: 'sample', workflows: driver.count, holdings: holdings() });
  }
  await Promise.all(lanes);
  tell({ what: 'done', workflows: driver.count, failures: driver.failures.slice(0, 10) });
}

process.once('message', (order: LeakOrder) => {
  run(order).catch((error: unknown) => {
    Logger.error(error);
    process.exit(1);
  });
});
process.on('disconnect', () => process.exit());
