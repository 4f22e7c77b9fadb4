/** A Nest application whose workflows talk: `workflows.send`, `flow.recv`, `flow.setEvent`, `workflows.getEvent`. */
import { randomUUID } from 'node:crypto';
import { Inject, Injectable, Module, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  DbosModule,
  Workflow,
  WorkflowContext,
  WorkflowService,
} from '../../generated/nestjs-dbos/index.js';
import type { PrismaClient } from '../../generated/prisma/client.js';
import type { LaunchSettings, MessageEngine } from '../../harness/contestant.js';
import { Work } from '../../harness/work.js';
import { PRISMA } from './application.js';

const TOPIC = 'ball';

@Injectable()
class Talkers {
  constructor(
    @Inject(Work) private readonly work: Work,
    private readonly workflows: WorkflowService,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow()
  async ping(partner: string, rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round += 1) {
      this.work.serve();
      await this.workflows.send(partner, round, { topic: TOPIC });
      this.work.returned(await this.receive(), round);
    }
  }

  @Workflow()
  async pong(partner: string, rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round += 1)
      await this.workflows.send(partner, await this.receive(), { topic: TOPIC });
  }

  @Workflow()
  async herald(events: number): Promise<void> {
    for (let index = 0; index < events; index += 1) {
      await this.work.cue(index);
      this.work.setting();
      await this.flow.setEvent(`event ${index}`, index);
    }
  }

  private receive(): Promise<number | undefined> {
    return this.flow.recv<number>(TOPIC, { timeout: '1m' });
  }
}

@Module({})
class TalkersModule {
  static with(prisma: PrismaClient, { url, executorId, work }: LaunchSettings): DynamicModule {
    return {
      module: TalkersModule,
      imports: [DbosModule.forRoot({ prisma: PRISMA, executorId, sessionUrl: url, migrate: true })],
      providers: [
        { provide: PRISMA, useValue: prisma },
        { provide: Work, useValue: work },
        Talkers,
      ],
    };
  }
}

export async function launchMessageApplication(
  prisma: PrismaClient,
  settings: LaunchSettings,
): Promise<MessageEngine> {
  const app = await NestFactory.createApplicationContext(TalkersModule.with(prisma, settings), {
    logger: ['error', 'warn'],
  });
  const workflows = app.get(WorkflowService);
  return {
    pingPong: async (rounds) => {
      const [pingId, pongId] = [randomUUID(), randomUUID()];
      const start = (workflowId: string) => workflows.start(Talkers, { workflowId });
      const answering = await start(pongId).pong(pingId, rounds);
      const serving = await start(pingId).ping(pongId, rounds);
      await Promise.all([answering.result(), serving.result()]);
    },
    startHerald: async (events) => {
      const { workflowId } = await workflows.start(Talkers).herald(events);
      return {
        event: async (index) =>
          (await workflows.getEvent<number>(workflowId, `event ${index}`)) ?? -1,
      };
    },
    close: async () => {
      await app.close();
      await prisma.$disconnect();
    },
  };
}
