// In which layouts of a Nest application the engine finds the pool of its Prisma client: wherever the client has not
// connected before its constructor or factory is through.
import { setTimeout as delay } from 'node:timers/promises';
import {
  Global,
  Inject,
  Injectable,
  Module,
  type DynamicModule,
  type INestApplicationContext,
  type ModuleMetadata,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { PrismaPg } from '@prisma/adapter-pg';
import { DbosModule, Workflow, WorkflowContext, WorkflowService } from 'nestjs-dbos';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { NamedConnections, saturate } from '../support/direct-engine.js';
import { QUICK } from '../support/nest-app.js';

const MAX = 2;
const URL = 'DatabaseUrl';
/** Longer than everything that does not wait. */
const A_WHILE_MS = 20;

let connections: NamedConnections;

/** As Nest's own recipe has it, and as most applications do. */
@Injectable()
class PrismaService extends PrismaClient implements OnModuleInit, OnModuleDestroy {
  /** Texts of the statements that went through the client. */
  readonly seen: string[];

  constructor(@Inject(URL) url: string) {
    const adapter = new PrismaPg({ connectionString: url, max: MAX });
    const seen: string[] = [];
    super({ adapter, log: [{ level: 'query', emit: 'event' }] });
    this.seen = seen;
    const client = this as PrismaClient<'query'>;
    client.$on('query', ({ query }) => seen.push(query));
  }

  async onModuleInit(): Promise<void> {
    await this.$connect();
  }

  async onModuleDestroy(): Promise<void> {
    await this.$disconnect();
  }
}

@Injectable()
class ConnectsInConstructor extends PrismaService {
  constructor(@Inject(URL) url: string) {
    super(url);
    void this.$connect();
  }
}

@Injectable()
class Steps {
  constructor(private readonly flow: WorkflowContext) {}

  @Workflow()
  async run(count: number): Promise<number> {
    for (let index = 0; index < count; index += 1) await this.flow.step(`${index}`, () => index);
    return count;
  }
}

/** Asks the client before the application is initialised. */
@Injectable()
class Settings {
  static readonly provider = {
    provide: Settings,
    inject: [PrismaService],
    useFactory: async (prisma: PrismaService): Promise<Settings> => {
      await prisma.$queryRaw`SELECT 1 AS one`;
      return new Settings();
    },
  };
}

const urlNow = { provide: URL, useFactory: () => connections.url };
const urlLater = { provide: URL, useFactory: () => delay(A_WHILE_MS, connections.url) };

@Global()
@Module({ providers: [urlNow, PrismaService], exports: [PrismaService] })
class PrismaModule {}

@Global()
@Module({ providers: [urlLater, PrismaService], exports: [PrismaService] })
class LatePrismaModule {}

@Module({ providers: [urlNow, PrismaService], exports: [PrismaService] })
class FeaturePrismaModule {}

@Module({ imports: [FeaturePrismaModule] })
class FeatureModule {}

const dbos = (): DynamicModule => DbosModule.forRoot({ prisma: PrismaService, ...QUICK });

const lateDbos = (): DynamicModule =>
  DbosModule.forRootAsync({
    useFactory: () => delay(A_WHILE_MS, { prisma: PrismaService, ...QUICK }),
  });

const ALIAS = 'AliasOfPrisma';

describe('The pool of the client', () => {
  let database: TestDatabase;
  let app: INestApplicationContext | undefined;
  let tests = 0;

  beforeAll(async () => {
    database = await createTestDatabase();
  });

  beforeEach(async () => {
    connections = await NamedConnections.open(database.url, `layouts-${(tests += 1)}`);
  });

  afterEach(async () => {
    await app?.close();
    app = undefined;
    await connections.close();
  });

  afterAll(async () => {
    await database.drop();
  });

  async function start(layout: ModuleMetadata): Promise<PrismaService> {
    @Module({ ...layout, providers: [...(layout.providers ?? []), Steps] })
    class AppModule {}
    app = await NestFactory.createApplicationContext(AppModule, {
      logger: false,
      abortOnError: false,
    });
    return app.get(PrismaService, { strict: false });
  }

  /** Opens as many connections as client and engine may have. */
  async function use(prisma: PrismaService): Promise<void> {
    const workflows = app!.get(WorkflowService, { strict: false });
    const runs = [1, 2, 3, 4, 5, 6].map((count) => workflows.execute(Steps).run(count));
    await Promise.all([saturate(prisma, 3 * MAX), ...runs]);
  }

  it.each<[string, () => ModuleMetadata]>([
    [
      'comes from a global module that is imported before',
      () => ({ imports: [PrismaModule, dbos()] }),
    ],
    [
      'comes from a global module that is imported after',
      () => ({ imports: [dbos(), PrismaModule] }),
    ],
    [
      'is provided by the root module',
      () => ({ imports: [dbos()], providers: [urlNow, PrismaService] }),
    ],
    [
      'comes from a module that only a feature imports',
      () => ({ imports: [FeatureModule, dbos()] }),
    ],
    ['is made before the options are there', () => ({ imports: [PrismaModule, lateDbos()] })],
    [
      'is provided by the root module before the options are there',
      () => ({ imports: [lateDbos()], providers: [urlNow, PrismaService] }),
    ],
    ['is made late', () => ({ imports: [LatePrismaModule, dbos()] })],
    [
      'is made late by the root module',
      () => ({ imports: [dbos()], providers: [urlLater, PrismaService] }),
    ],
    [
      'is made by an async factory',
      () => ({
        imports: [dbos()],
        providers: [
          {
            provide: PrismaService,
            useFactory: () => delay(A_WHILE_MS).then(() => new PrismaService(connections.url)),
          },
        ],
      }),
    ],
    [
      'is a value',
      () => ({
        imports: [dbos()],
        providers: [{ provide: PrismaService, useValue: new PrismaService(connections.url) }],
      }),
    ],
    [
      'has an alias',
      () => ({
        imports: [LatePrismaModule, DbosModule.forRoot({ prisma: ALIAS, ...QUICK })],
        providers: [{ provide: ALIAS, useExisting: PrismaService }],
      }),
    ],
    [
      'is queried by a provider that waits for it',
      () => ({ imports: [dbos(), LatePrismaModule], providers: [Settings.provider] }),
    ],
  ])('serves the engine as well when the client %s', async (_layout, layout) => {
    const prisma = await start(layout());
    expect(await connections.countOf(MAX, () => use(prisma))).toBe(MAX);
    expect(prisma.seen.join()).not.toContain('dbos.');
  });

  it.each<[string, () => ModuleMetadata]>([
    [
      'before the options of DbosModule are there, because a provider queries it',
      () => ({ imports: [PrismaModule, lateDbos()], providers: [Settings.provider] }),
    ],
    [
      'in its constructor',
      () => ({
        imports: [dbos()],
        providers: [urlNow, { provide: PrismaService, useClass: ConnectsInConstructor }],
      }),
    ],
    [
      'in its factory',
      () => ({
        imports: [dbos()],
        providers: [
          {
            provide: PrismaService,
            useFactory: async () => {
              const prisma = new PrismaService(connections.url);
              await prisma.$connect();
              return prisma;
            },
          },
        ],
      }),
    ],
  ])('is the only one also when the client connects %s', async (_where, layout) => {
    const prisma = await start(layout());
    expect(await connections.countOf(MAX, () => use(prisma))).toBe(MAX);
    expect(prisma.seen.join()).toContain('dbos.write_transitions');
  });

  it('serves two applications that share the client', async () => {
    const prisma = new PrismaService(connections.url);
    const shared = { provide: PrismaService, useValue: prisma };
    const first = await start({ imports: [dbos()], providers: [shared] });
    const other = app;
    await start({ imports: [dbos()], providers: [shared] });
    expect(await connections.countOf(MAX, () => use(first))).toBe(MAX);
    await other?.close();
    await use(first);
    expect(first.seen.join()).not.toContain('dbos.');
  });
});
