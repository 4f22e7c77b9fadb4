// The program of a child process: a small application, told by its parent what to start and where to stop.
import './skewed-clock.js';
import { Logger, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { PrismaPg } from '@prisma/adapter-pg';
import { DbosModule } from 'nestjs-dbos';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { carryOutOnQueue, Parcels } from './child-queues.js';
import type { ChildCall, ChildSettings, FromChild, ToChild } from './child-protocol.js';
import {
  Bodies,
  Dealing,
  FiveSteps,
  LedgerTraces,
  Receiving,
  Selling,
  Sending,
  Sleeping,
  Streaming,
  Ticking,
} from './child-workflows.js';
import { Ledger } from './ledger.js';
import { RandomProgram, Traces } from './random-program.js';
import { StatementGates } from './statement-gates.js';
import { StoppingPoints } from './stopping-points.js';

const settings = JSON.parse(process.env['CHILD_SETTINGS'] ?? '{}') as ChildSettings;
const points = new StoppingPoints();
const PRISMA = 'ChildPrisma';
const APPLICATION = 'ApplicationPrisma';

async function main(): Promise<void> {
  points.onStop = (point) => tell({ what: 'stopped', point });
  const prisma = clientOf(settings.url);
  const gates = new StatementGates();
  gates.onEach((sql, values, moment) => points.passStatement(sql, values, moment));
  const ledger = await Ledger.open(settings.ledgerUrl ?? settings.url);
  const { applicationUrl, executorId, leaseMs, maxConcurrentWorkflows } = settings;
  const { queues = [], options } = settings;

  @Module({
    imports: [
      DbosModule.forRoot({
        prisma: PRISMA,
        sessionUrl: settings.session ? settings.url : false,
        pollIntervalMs: 50,
        shutdown: { graceMs: 200 },
        ...(applicationUrl !== undefined && {
          transactionClients: [{ prisma: APPLICATION, separateDatabase: true }],
        }),
        ...(executorId !== undefined && { executorId }),
        ...(leaseMs !== undefined && { leaseMs }),
        ...(maxConcurrentWorkflows !== undefined && { maxConcurrentWorkflows }),
        ...options,
      }),
      ...queues.map((queue) => DbosModule.registerQueue(queue)),
    ],
    providers: [
      { provide: PRISMA, useValue: gates.wrap(prisma) },
      { provide: APPLICATION, useFactory: () => applicationUrl && clientOf(applicationUrl) },
      { provide: Ledger, useValue: ledger },
      { provide: StoppingPoints, useValue: points },
      Bodies,
      Dealing,
      FiveSteps,
      Parcels,
      Ticking,
      Streaming,
      Sending,
      Sleeping,
      Receiving,
      Selling,
      RandomProgram,
      { provide: Traces, useClass: LedgerTraces },
    ],
  })
  class ChildModule {}

  const app = await NestFactory.createApplicationContext(ChildModule, {
    logger: ['log', 'warn', 'error'],
    abortOnError: false,
  });
  app.enableShutdownHooks(['SIGTERM']);
  const engine = app.get(Engine);
  process.on('message', (message: ToChild) => void answer(engine, message));
  tell({ what: 'ready' });
}

function clientOf(connectionString: string): PrismaClient {
  return new PrismaClient({ adapter: new PrismaPg({ connectionString, max: 5 }) });
}

async function answer(engine: Engine, { id, call }: ToChild): Promise<void> {
  try {
    tell({ what: 'answer', id, value: await carryOut(engine, call) });
  } catch (error) {
    tell({ what: 'error', id, ...parts(error) });
  }
}

async function carryOut(engine: Engine, call: ChildCall): Promise<unknown> {
  switch (call.what) {
    case 'start':
      await engine.start(call.name, call.args, { workflowId: call.workflowId, ...call.options });
      return undefined;
    case 'result':
      return engine.handle(call.workflowId).result();
    case 'stopAt':
      void points.stopAt(call.point);
      return undefined;
    case 'goOnFrom':
      return points.goOnFrom(call.point);
    case 'cancel':
      return engine.cancel(call.workflowIds);
    case 'setVersion':
      return engine.control.setVersion(call.workflowIds, call.version);
    case 'goOn':
      return engine.resume(call.workflowIds);
    case 'fork':
      return engine.forks.fork(call.originId, call.options);
    default:
      return carryOutOnQueue(engine, call);
  }
}

function tell(message: FromChild): void {
  process.send?.(message);
}

function parts(error: unknown): { message: string; code: string | undefined } {
  const { message, code } = error as { message?: string; code?: string };
  return { message: message ?? String(error), code };
}

// Without its parent it has no purpose.
process.on('disconnect', () => process.exit());

main().catch((error: unknown) => {
  Logger.error(error);
  process.send?.({ what: 'failed', ...parts(error) } satisfies FromChild, () => process.exit(1));
});
