// A Nest application on a test database, as a user would make it; it can be closed, or killed as if its process had died.
import { Module, type INestApplication, type Provider } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { PrismaPg } from '@prisma/adapter-pg';
import type { DbosModuleOptions } from 'nestjs-dbos';
import { CheckpointRepository, DbosModule, WorkflowService } from 'nestjs-dbos';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { Telemetry } from '../../libs/dbos/src/nest/telemetry/telemetry.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { FaultyClient } from './faulty-client.js';

export const PRISMA = 'TestPrisma';

export interface TestAppSettings {
  readonly url: string;
  readonly providers?: Provider[];
  readonly controllers?: Parameters<typeof Module>[0]['controllers'];
  readonly options?: Partial<DbosModuleOptions>;
  /** Connections of the application's pool. */
  readonly poolSize?: number;
}

export interface TestApp {
  readonly app: INestApplication;
  readonly workflows: WorkflowService;
  readonly prisma: PrismaClient;
  readonly faults: FaultyClient;
  get<T>(type: new (...args: never[]) => T): T;
  close(): Promise<void>;
  /**
   * As far as the database can tell, the process is dead: it neither sends nor hears anything more, and its executor
   * is declared dead, as other executors would do once its lease has run out.
   */
  kill(): Promise<void>;
}

const QUICK = {
  pollIntervalMs: 20,
  shutdown: { graceMs: 200 },
  applicationVersion: 'test', // of all deployments in a test, unless it is about versions
} as const;

export async function startTestApp(settings: TestAppSettings): Promise<TestApp> {
  const testApp = await createTestApp(settings);
  await testApp.app.init();
  return testApp;
}

/** Not yet initialised: no hook has been called. */
export async function createTestApp({
  url,
  providers = [],
  controllers = [],
  options = {},
  poolSize = 5,
}: TestAppSettings): Promise<TestApp> {
  const prisma = new PrismaClient({
    adapter: new PrismaPg({ connectionString: url, max: poolSize }),
  });
  const faults = new FaultyClient(prisma);
  @Module({
    imports: [DbosModule.forRoot({ prisma: PRISMA, sessionUrl: false, ...QUICK, ...options })],
    providers: [{ provide: PRISMA, useValue: faults.client }, ...providers],
    controllers: controllers ?? [],
  })
  class TestModule {}
  const testing = await Test.createTestingModule({ imports: [TestModule] }).compile();
  const app = testing.createNestApplication({
    logger: process.env['TEST_LOG'] ? ['log', 'warn', 'error'] : false,
  });
  const workflows = app.get(WorkflowService);
  let ended = false;
  return {
    app,
    workflows,
    prisma,
    faults,
    get: (type) => app.get(type),
    close: async () => {
      if (ended) return;
      ended = true;
      await app.close();
      await prisma.$disconnect();
    },
    kill: async () => {
      ended = true;
      const engine = app.get(Engine);
      faults.die();
      await app.get(CheckpointRepository).close(); // so that nothing waits for a database that is cut off
      await engine.shutdown({ graceMs: 0 });
      app.get(Telemetry).end(); // channels outlive what is a process only for the database
      await prisma.$executeRaw`UPDATE dbos.executors SET dead_at = now() WHERE id = ${engine.executorId}`;
      await prisma.$disconnect();
    },
  };
}
