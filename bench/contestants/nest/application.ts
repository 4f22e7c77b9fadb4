/** A Nest application as users write them: a provider with a step, one with workflows, their Prisma client. */
import 'reflect-metadata';
import { Inject, Injectable, Module, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  DbosModule,
  Step,
  Workflow,
  WorkflowContext,
  WorkflowService,
} from '../../generated/nestjs-dbos/index.js';
import type { PrismaClient } from '../../generated/prisma/client.js';
import type { Engine, LaunchSettings } from '../../harness/contestant.js';
import { Work } from '../../harness/work.js';

export const PRISMA = Symbol('PrismaClient');

@Injectable()
export class BenchSteps {
  constructor(@Inject(Work) private readonly work: Work) {}

  @Step()
  async add(value: number): Promise<number> {
    return this.work.step(value);
  }
}

@Injectable()
class BenchWorkflows {
  constructor(
    @Inject(Work) private readonly work: Work,
    private readonly steps: BenchSteps,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow()
  async run(steps: number): Promise<number> {
    let value = 0;
    for (let step = 0; step < steps; step += 1) value = await this.steps.add(value);
    return this.work.end(value, steps);
  }

  @Workflow()
  async sleeper(index: number): Promise<void> {
    this.work.fallAsleep(index);
    await this.flow.sleep('1h');
  }
}

@Module({})
class BenchModule {
  static with(prisma: PrismaClient, { url, executorId, work }: LaunchSettings): DynamicModule {
    return {
      module: BenchModule,
      imports: [DbosModule.forRoot({ prisma: PRISMA, executorId, sessionUrl: url, migrate: true })],
      providers: [
        { provide: PRISMA, useValue: prisma },
        { provide: Work, useValue: work },
        BenchSteps,
        BenchWorkflows,
      ],
    };
  }
}

export const COMPLETED_SQL = `SELECT count(*) FROM dbos.workflows WHERE status = 'SUCCESS'`;

export async function launchApplication(
  prisma: PrismaClient,
  settings: LaunchSettings,
): Promise<Engine> {
  const app = await NestFactory.createApplicationContext(BenchModule.with(prisma, settings), {
    logger: ['error', 'warn'],
  });
  const workflows = app.get(WorkflowService);
  return {
    execute: (steps) => workflows.execute(BenchWorkflows).run(steps),
    start: async (steps) => void (await workflows.start(BenchWorkflows).run(steps)),
    startSleeper: async (index) => void (await workflows.start(BenchWorkflows).sleeper(index)),
    listNewest: async (limit) =>
      (await workflows.list({ status: 'SUCCESS', limit })).workflows.length,
    close: async () => {
      await app.close();
      await prisma.$disconnect();
    },
  };
}
