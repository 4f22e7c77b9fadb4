// The program of a process that measures its own memory: a small application as a user would make it.
import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { PrismaPg } from '@prisma/adapter-pg';
import { DbosModule, Step, Workflow, WorkflowContext, WorkflowService } from 'nestjs-dbos';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import type { MemoryReading, MemoryReport, MemorySettings, MemoryTask } from './memory-protocol.js';

const PRISMA = 'Prisma';
const MEBIBYTE = 2 ** 20;
const LANES = 64;
const SETTLE_POLL_MS = 250;
const SETTLE_POLLS_MAX = 40;
/** Two readings that differ by less: nothing is going on any more. */
const SETTLED_BYTES = 20_000;

const settings = JSON.parse(process.env['MEMORY_SETTINGS'] ?? '{}') as MemorySettings;
const readings: MemoryReading[] = [];

function read(): MemoryReading {
  if (!globalThis.gc) throw new Error('Needs --expose-gc.');
  globalThis.gc();
  const { heapUsed: heap, rss: resident } = process.memoryUsage();
  return { heap, resident };
}

async function settled(): Promise<MemoryReading> {
  let last = read();
  for (let poll = 0; poll < SETTLE_POLLS_MAX; poll += 1) {
    await delay(SETTLE_POLL_MS);
    const now = read();
    if (Math.abs(now.heap - last.heap) < SETTLED_BYTES) return now;
    last = now;
  }
  return last;
}

@Injectable()
class Loads {
  held: (() => void) | undefined;

  constructor(private readonly flow: WorkflowContext) {}

  @Workflow({ name: 'Sleeper' })
  async sleep(): Promise<void> {
    await this.flow.sleep('1h');
  }

  @Workflow({ name: 'Carrier' })
  async carry(steps: number): Promise<number> {
    let length = 0;
    for (let index = 0; index < steps; index += 1) {
      length += (await this.load(index)).length;
      readings.push(read());
    }
    await this.hold();
    return length;
  }

  @Step()
  async load(index: number): Promise<string> {
    return String(index % 10).repeat(MEBIBYTE);
  }

  @Step()
  hold(): Promise<void> {
    this.held?.();
    return new Promise(() => undefined);
  }
}

async function main(): Promise<void> {
  const prisma = new PrismaClient({ adapter: new PrismaPg(settings.url) });

  @Module({
    imports: [DbosModule.forRoot({ prisma: PRISMA, executorId: 'memory' })],
    providers: [{ provide: PRISMA, useValue: prisma }, Loads],
  })
  class MemoryModule {}

  const app = await NestFactory.createApplicationContext(MemoryModule, {
    logger: ['warn', 'error'],
    abortOnError: false,
  });
  const loads = app.get(Loads);
  const held = new Promise<void>((resolve) => (loads.held = resolve));
  const workflows = app.get(WorkflowService, { strict: false });
  const { before, after } = await carryOut(settings.task, { prisma, workflows, held });
  const peak = {
    heap: Math.max(...readings.map(({ heap }) => heap), after.heap),
    resident: Math.max(...readings.map(({ resident }) => resident), after.resident),
  };
  process.send?.({ before, peak, after } satisfies MemoryReport);
}

interface Stage {
  readonly prisma: PrismaClient;
  readonly workflows: WorkflowService;
  /** Resolves when a workflow has come to its last step. */
  readonly held: Promise<void>;
}

async function carryOut(
  task: MemoryTask,
  { prisma, workflows, held }: Stage,
): Promise<Omit<MemoryReport, 'peak'>> {
  switch (task.what) {
    case 'sleep': {
      await putToSleep(task.warmUp, task.warmUp);
      const before = await settled();
      await putToSleep(task.sleepers, task.warmUp + task.sleepers);
      return { before, after: await settled() };
    }
    case 'carry': {
      const before = await settled();
      await workflows.start(Loads, { workflowId: 'carrier' }).carry(task.steps);
      await held;
      return { before, after: await settled() };
    }
    case 'carry on': {
      const before = read();
      await held;
      return { before, after: await settled() };
    }
    default:
      return task satisfies never;
  }

  async function putToSleep(count: number, inAll: number): Promise<void> {
    let left = count;
    const lane = async (): Promise<void> => {
      for (; left > 0;) {
        left -= 1;
        await workflows.start(Loads).sleep();
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    for (;;) {
      const [row] = await prisma.$queryRaw<Array<{ asleep: number }>>`
        SELECT count(*)::int AS asleep FROM dbos.workflows WHERE status = 'DELAYED'`;
      if (row?.asleep === inAll) return;
      await delay(SETTLE_POLL_MS);
    }
  }
}

// Without its parent it has no purpose.
process.on('disconnect', () => process.exit());

main().catch((error: unknown) => {
  process.stderr.write(`${String((error as Error).stack ?? error)}\n`);
  process.exit(1);
});
