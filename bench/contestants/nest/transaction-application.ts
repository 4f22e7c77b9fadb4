/** A Nest application with a transaction step: a provider's method marked with `@Transaction()`. */
import { Inject, Injectable, Module, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  DbosModule,
  Transaction,
  Workflow,
  WorkflowContext,
  WorkflowService,
} from '../../generated/nestjs-dbos/index.js';
import type { PrismaClient } from '../../generated/prisma/client.js';
import type { LaunchSettings, TransactionEngine } from '../../harness/contestant.js';
import { Work } from '../../harness/work.js';
import { createNotes, writeNote } from '../prisma/notes.js';
import { PRISMA } from './application.js';

@Injectable()
class Notes {
  constructor(private readonly flow: WorkflowContext) {}

  @Transaction()
  async write(id: number): Promise<number> {
    return writeNote(this.flow.prisma<PrismaClient>(), id);
  }
}

@Injectable()
class Writers {
  constructor(
    @Inject(Work) private readonly work: Work,
    private readonly notes: Notes,
  ) {}

  @Workflow()
  async run(firstId: number, count: number): Promise<number> {
    let written = 0;
    while (written < count) {
      const id = firstId + written;
      written += (await this.notes.write(id)) === id ? 1 : Number.NaN;
    }
    return this.work.end(written, count);
  }
}

@Module({})
class WritersModule {
  static with(prisma: PrismaClient, { url, executorId, work }: LaunchSettings): DynamicModule {
    return {
      module: WritersModule,
      imports: [DbosModule.forRoot({ prisma: PRISMA, executorId, sessionUrl: url, migrate: true })],
      providers: [
        { provide: PRISMA, useValue: prisma },
        { provide: Work, useValue: work },
        Notes,
        Writers,
      ],
    };
  }
}

export async function launchTransactionApplication(
  prisma: PrismaClient,
  settings: LaunchSettings,
): Promise<TransactionEngine> {
  await createNotes(prisma);
  const app = await NestFactory.createApplicationContext(WritersModule.with(prisma, settings), {
    logger: ['error', 'warn'],
  });
  const workflows = app.get(WorkflowService);
  return {
    write: (firstId, count) => workflows.execute(Writers).run(firstId, count),
    close: async () => {
      await app.close();
      await prisma.$disconnect();
    },
  };
}
