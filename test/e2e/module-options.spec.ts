// The ways in which an application configures the module, and who may inject what it brings.
import { Global, Injectable, Module, type DynamicModule, type Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  DBOS_OPTIONS,
  DbosModule,
  WorkflowContext,
  WorkflowService,
  type DbosModuleOptions,
} from 'nestjs-dbos';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { Campaign, Mailer } from '../support/campaign.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { openPrisma, QUICK } from '../support/nest-app.js';

describe('The module', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createTestDatabase();
  });

  afterAll(async () => {
    await database.drop();
  });

  const CLIENT = 'ClientOfThisTest';
  let prisma: PrismaClient;

  beforeEach(() => {
    prisma = openPrisma(database.url);
  });

  afterEach(async () => {
    await prisma.$disconnect();
  });

  @Injectable()
  class Settings {
    createDbosOptions(): DbosModuleOptions {
      return { prisma: CLIENT, ...QUICK, applicationVersion: 'from a class' };
    }
  }

  @Module({
    providers: [Settings, { provide: 'version', useValue: 'injected' }],
    exports: [Settings, 'version'],
  })
  class SettingsModule {}

  function clientModule(): DynamicModule {
    @Global()
    @Module({})
    class ClientModule {}
    const providers = [{ provide: CLIENT, useValue: prisma }];
    return { module: ClientModule, providers, exports: [CLIENT] };
  }

  /** The application version that a workflow gets, which the options say. */
  async function versionWith(dbos: DynamicModule): Promise<string | null> {
    const testing = await Test.createTestingModule({
      imports: [clientModule(), dbos],
      providers: [Mailer, Campaign],
    }).compile();
    const app = testing.createNestApplication({ logger: false });
    await app.init();
    try {
      const handle = await app.get(WorkflowService).start(Campaign).run('Ada');
      expect(await handle.result()).toBe('sent to Ada');
      return (await handle.status()).applicationVersion;
    } finally {
      await app.close();
    }
  }

  it.each<[string, () => DynamicModule, string]>([
    [
      'forRootAsync with useFactory',
      () =>
        DbosModule.forRootAsync({
          useFactory: () => ({ prisma: CLIENT, ...QUICK, applicationVersion: 'made' }),
        }),
      'made',
    ],
    [
      'forRootAsync with useFactory and inject',
      () =>
        DbosModule.forRootAsync({
          imports: [SettingsModule],
          inject: ['version'],
          useFactory: async (applicationVersion: string) => ({
            prisma: CLIENT,
            ...QUICK,
            applicationVersion,
          }),
        }),
      'injected',
    ],
    [
      'forRootAsync with useClass',
      () => DbosModule.forRootAsync({ useClass: Settings }),
      'from a class',
    ],
    [
      'forRootAsync with useExisting',
      () => DbosModule.forRootAsync({ imports: [SettingsModule], useExisting: Settings }),
      'from a class',
    ],
  ])('accepts %s', async (_way, dbos, version) => {
    expect(await versionWith(dbos())).toBe(version);
  });

  it('reports a forRootAsync factory without prisma as forRoot does', async () => {
    const dbos = DbosModule.forRootAsync({ useFactory: () => ({}) as DbosModuleOptions });
    await expect(versionWith(dbos)).rejects.toMatchObject({ code: 'DBOS_INVALID_ARGUMENT' });
  });

  it('takes options that a test puts in the place of the given ones', async () => {
    const testing = await Test.createTestingModule({
      imports: [clientModule(), DbosModule.forRoot({ prisma: 'nobody' })],
      providers: [Mailer, Campaign],
    })
      .overrideProvider(DBOS_OPTIONS)
      .useValue({ prisma: CLIENT, ...QUICK })
      .compile();
    const app = testing.createNestApplication({ logger: false });
    await app.init();
    expect(await app.get(WorkflowService).execute(Campaign).run('Ada')).toBe('sent to Ada');
    await app.close();
  });

  /** Compiles a feature module that injects the services, beside a module that brings them. */
  function feature(imports: Array<Type | DynamicModule>): Type {
    @Injectable()
    class Consumer {
      constructor(
        readonly workflows: WorkflowService,
        readonly flow: WorkflowContext,
      ) {}
    }
    @Module({ imports, providers: [Consumer] })
    class Feature {}
    return Feature;
  }

  it('lets every module inject its services by default', async () => {
    const testing = Test.createTestingModule({
      imports: [clientModule(), DbosModule.forRoot({ prisma: CLIENT, ...QUICK }), feature([])],
    });
    await expect(testing.compile()).resolves.toBeDefined();
  });

  it('keeps its services to those that import it with isGlobal false', async () => {
    const dbos = DbosModule.forRoot({ prisma: CLIENT, ...QUICK, isGlobal: false });
    const testing = Test.createTestingModule({ imports: [clientModule(), dbos, feature([])] });
    await expect(testing.compile()).rejects.toThrow(/WorkflowService/);
  });

  it('brings its services to modules that import one that exports it, with isGlobal false', async () => {
    @Module({
      imports: [DbosModule.forRoot({ prisma: CLIENT, ...QUICK, isGlobal: false })],
      exports: [DbosModule],
    })
    class Workflows {}
    const testing = await Test.createTestingModule({
      imports: [clientModule(), Workflows, feature([Workflows])],
      providers: [Mailer, Campaign],
    }).compile();
    const app = testing.createNestApplication({ logger: false });
    await app.init();
    const workflows = app.get(WorkflowService, { strict: false });
    expect(await workflows.execute(Campaign).run('Ada')).toBe('sent to Ada');
    await app.close();
  });

  it('runs in an application without HTTP', async () => {
    const context = await Test.createTestingModule({
      imports: [clientModule(), DbosModule.forRoot({ prisma: CLIENT, ...QUICK })],
      providers: [Mailer, Campaign],
    }).compile();
    await context.init();
    expect(await context.get(WorkflowService).execute(Campaign).run('Ada')).toBe('sent to Ada');
    await context.close();
  });
});
