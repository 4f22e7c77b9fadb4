/** A Nest application with a queue as users write it: registered by a module, injected by name. */
import { Inject, Injectable, Module, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  DbosModule,
  InjectQueue,
  Workflow,
  type Queue,
} from '../../generated/nestjs-dbos/index.js';
import type { PrismaClient } from '../../generated/prisma/client.js';
import type { QueueEngine, QueueSettings } from '../../harness/contestant.js';
import { Work } from '../../harness/work.js';
import { BenchSteps, PRISMA } from './application.js';

const QUEUE = 'bench';

@Injectable()
class BenchJobs {
  constructor(
    @Inject(Work) private readonly work: Work,
    private readonly steps: BenchSteps,
  ) {}

  @Workflow()
  async run(index: number): Promise<number> {
    this.work.job(index);
    return this.work.end(await this.steps.add(0), 1);
  }
}

@Injectable()
class BenchQueue {
  constructor(@InjectQueue(QUEUE) readonly queue: Queue) {}
}

@Module({})
class QueueModule {
  static with(prisma: PrismaClient, settings: QueueSettings): DynamicModule {
    const { url, executorId, concurrency, listens, work } = settings;
    return {
      module: QueueModule,
      imports: [
        DbosModule.forRoot({
          prisma: PRISMA,
          executorId,
          sessionUrl: url,
          migrate: true,
          runWorkflows: listens,
        }),
        DbosModule.registerQueue({ name: QUEUE, workerConcurrency: concurrency }),
      ],
      providers: [
        { provide: PRISMA, useValue: prisma },
        { provide: Work, useValue: work },
        BenchSteps,
        BenchJobs,
        BenchQueue,
      ],
    };
  }
}

/** In the collation of the index: beside a long past another would read all of it, and the drain be over only then. */
export const UNFINISHED_SQL = `SELECT count(*) FROM dbos.workflows WHERE status COLLATE "C" IN ('ENQUEUED', 'PENDING')`;

export async function launchQueueApplication(
  prisma: PrismaClient,
  settings: QueueSettings,
): Promise<QueueEngine> {
  const app = await NestFactory.createApplicationContext(QueueModule.with(prisma, settings), {
    logger: ['error', 'warn'],
  });
  const { queue } = app.get(BenchQueue);
  if (settings.listens) await queue.pause();
  return {
    enqueue: async (index) => void (await queue.enqueue(BenchJobs).run(index)),
    enqueueMany: async (indexes) => {
      await queue.enqueueMany(BenchJobs).run(indexes.map((index) => ({ args: [index] })));
    },
    listen: () => queue.resume(),
    close: async () => {
      await app.close();
      await prisma.$disconnect();
    },
  };
}
