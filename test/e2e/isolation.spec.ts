// Several applications in one process share nothing, and one that has been closed leaves nothing behind.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  Global,
  Injectable,
  Module,
  type DynamicModule,
  type OnModuleDestroy,
  type Provider,
  type Type,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  DBOS_OPTIONS,
  DbosModule,
  Step,
  Workflow,
  WorkflowContext,
  WorkflowService,
  type DbosModuleOptions,
} from 'nestjs-dbos';
import pg from 'pg';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import {
  createNestApp,
  openPrisma,
  QUICK,
  startNestApp,
  type NestApp,
} from '../support/nest-app.js';
import { PRISMA } from '../support/test-app.js';

@Injectable()
class Mailer {
  sent: string[] = [];
  /** Set by a test that wants to hold a step body. */
  held: Promise<void> | undefined;

  @Step()
  async send(to: string): Promise<string> {
    this.sent.push(to);
    await this.held;
    return `sent to ${to}`;
  }
}

@Injectable()
class Campaign {
  constructor(private readonly mailer: Mailer) {}

  @Workflow()
  async run(to: string): Promise<string> {
    return this.mailer.send(to);
  }
}

describe('Isolation', () => {
  let red: TestDatabase;
  let blue: TestDatabase;
  const opened: NestApp[] = [];

  beforeAll(async () => {
    red = await createTestDatabase();
    blue = await createTestDatabase();
  });

  afterEach(async () => {
    for (const nestApp of opened.splice(0)) await nestApp.close();
  });

  afterAll(async () => {
    await red.drop();
    await blue.drop();
  });

  async function start(
    { url }: TestDatabase,
    providers: Provider[] = [Mailer, Campaign],
  ): Promise<NestApp> {
    const nestApp = await startNestApp({ url, providers });
    opened.push(nestApp);
    return nestApp;
  }

  async function recorded({ workflows }: NestApp, workflowId: string): Promise<string[]> {
    return (await workflows.steps(workflowId)).map(({ name }) => name);
  }

  describe('of two applications in one process', () => {
    it('B69: runs one id once in each, on its own providers and in its own database', async () => {
      const first = await start(red);
      const second = await start(blue);

      const results = await Promise.all([
        first.workflows.execute(Campaign, { workflowId: 'B69' }).run('Ada'),
        second.workflows.execute(Campaign, { workflowId: 'B69' }).run('Bob'),
      ]);

      expect(results).toEqual(['sent to Ada', 'sent to Bob']);
      expect(first.app.get(Mailer).sent).toEqual(['Ada']);
      expect(second.app.get(Mailer).sent).toEqual(['Bob']);
    });

    it('B69: lets the other go on when one is closed', async () => {
      const first = await start(red);
      const second = await start(blue);
      const hold = deferred<void>();
      second.app.get(Mailer).held = hold.promise;
      const running = await second.workflows.start(Campaign).run('Bob');
      await eventually(() => expect(second.app.get(Mailer).sent).toEqual(['Bob']));

      await first.app.close();
      hold.resolve();

      expect(await running.result()).toBe('sent to Bob');
      expect(await second.workflows.execute(Campaign).run('Eve')).toBe('sent to Eve');
    });

    it('B69: lets a step of one start a workflow of the other, which is nobody’s child', async () => {
      const other = await start(blue);
      @Injectable()
      class Bridge {
        @Workflow()
        async run(): Promise<string> {
          return this.cross();
        }

        @Step()
        async cross(): Promise<string> {
          return other.workflows.execute(Campaign, { workflowId: 'bridged' }).run('Bob');
        }
      }
      const first = await start(red, [Bridge]);

      expect(await first.workflows.execute(Bridge).run()).toBe('sent to Bob');

      expect(await other.workflows.handle('bridged').status()).toMatchObject({ parentId: null });
      expect(await recorded(other, 'bridged')).toEqual(['Mailer.send']);
    });

    it('B69: knows its own workflows only', async () => {
      const first = await start(red, [Mailer]);
      await start(blue);
      const starting = async (): Promise<unknown> => first.workflows.start(Campaign).run('Ada');
      await expect(starting()).rejects.toMatchObject({ code: 'DBOS_WORKFLOW_NOT_REGISTERED' });
    });
  });

  describe('of an instance that two applications share', () => {
    it('B69: records its steps where the workflow runs', async () => {
      const shared: Provider = { provide: Mailer, useValue: new Mailer() };
      const first = await start(red, [shared, Campaign]);
      const second = await start(blue, [shared, Campaign]);

      await first.workflows.execute(Campaign, { workflowId: 'shared 1' }).run('Ada');
      await second.workflows.execute(Campaign, { workflowId: 'shared 2' }).run('Bob');

      expect(await recorded(first, 'shared 1')).toEqual(['Mailer.send']);
      expect(await recorded(second, 'shared 2')).toEqual(['Mailer.send']);
      expect(await recorded(first, 'shared 2')).toEqual([]);
    });

    it.each([
      ['first', 0],
      ['second', 1],
    ])('B69: records its steps still when the %s one is closed', async (which, closed) => {
      const shared: Provider = { provide: Mailer, useValue: new Mailer() };
      const nestApps = [
        await start(red, [shared, Campaign]),
        await start(blue, [shared, Campaign]),
      ];

      await nestApps[closed]!.app.close();

      const left = nestApps[1 - closed]!;
      const workflowId = `closed ${which}`;
      await left.workflows.execute(Campaign, { workflowId }).run('Eve');
      expect(await recorded(left, workflowId)).toEqual(['Mailer.send']);
    });

    it('B69: gives it its own methods back when both are closed, whatever the order', async () => {
      const mailer = new Mailer();
      const shared: Provider = { provide: Mailer, useValue: mailer };
      const first = await start(red, [shared, Campaign]);
      const second = await start(blue, [shared, Campaign]);
      await first.app.close();
      await second.app.close();
      expect(Object.hasOwn(mailer, 'send')).toBe(false);
    });

    it('B69: runs its workflows in the application that was asked', async () => {
      const campaign = new Campaign(new Mailer());
      const shared: Provider = { provide: Campaign, useValue: campaign };
      const first = await start(red, [shared]);
      const second = await start(blue, [shared]);

      await first.workflows.execute(Campaign, { workflowId: 'workflow 1' }).run('only red');
      await second.workflows.execute(Campaign, { workflowId: 'workflow 2' }).run('only blue');

      const begun = ({ prisma }: NestApp): Promise<unknown> => prisma.$queryRaw`
        SELECT id FROM dbos.workflows WHERE input LIKE '%only%'`;
      expect(await begun(first)).toEqual([{ id: 'workflow 1' }]);
      expect(await begun(second)).toEqual([{ id: 'workflow 2' }]);
    });

    it('B69: lets the other go on when one is closed that shares a provider with onModuleDestroy', async () => {
      class Pool implements OnModuleDestroy {
        onModuleDestroy(): void {}
      }
      const shared: Provider = { provide: Pool, useValue: new Pool() };
      const first = await start(red, [shared, Mailer, Campaign]);
      const second = await start(blue, [shared, Mailer, Campaign]);

      await first.app.close();

      expect(await second.workflows.execute(Campaign).run('Bob')).toBe('sent to Bob');
    });
  });

  describe('of applications that have been closed', () => {
    const ROUNDS = 100;

    interface Footprint {
      readonly resources: Record<string, number>;
      readonly listeners: number;
      readonly connections: number;
    }

    beforeEach(async () => {
      // What an earlier test has left is not counted.
      const prisma = openPrisma(red.url);
      await prisma.$executeRaw`TRUNCATE dbos.executors`;
      await prisma.$disconnect();
    });

    /** What this process holds open, by kind, and what the server has for it. */
    async function footprint(): Promise<Footprint> {
      const resources: Record<string, number> = {};
      for (const kind of process.getActiveResourcesInfo())
        resources[kind] = (resources[kind] ?? 0) + 1;
      const listeners = process
        .eventNames()
        .reduce((sum, event) => sum + process.listenerCount(event), 0);
      const client = new pg.Client({ connectionString: red.url });
      await client.connect();
      const { rows } = await client.query<{ count: number }>(
        `SELECT count(*)::int AS count FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`,
      );
      await client.end();
      return { resources, listeners, connections: rows[0]!.count };
    }

    async function expectNoMoreThan(before: Footprint): Promise<void> {
      await eventually(async () => {
        const after = await footprint();
        expect(after.connections).toBeLessThanOrEqual(before.connections);
        expect(after.listeners).toBeLessThanOrEqual(before.listeners);
        const more = Object.entries(after.resources).filter(
          ([kind, count]) => count > (before.resources[kind] ?? 0),
        );
        expect(more).toEqual([]);
      });
    }

    it('B69: a hundred TestingModules in a row leave no timer, socket, listener, connection or row', async () => {
      const before = await footprint();
      const warnings: string[] = [];
      const onWarning = ({ name }: Error): void => void warnings.push(name);
      process.on('warning', onWarning);
      const engines: Array<WeakRef<Engine>> = [];

      for (let round = 0; round < ROUNDS; round += 1) {
        const nestApp = await startNestApp({
          url: red.url,
          providers: [Mailer, Campaign],
          options: { sessionUrl: red.url },
        });
        await nestApp.workflows.execute(Campaign).run(String(round));
        engines.push(new WeakRef(nestApp.app.get(Engine)));
        await nestApp.close();
      }

      process.off('warning', onWarning);
      await expectNoMoreThan(before);
      expect(warnings.filter((name) => name === 'MaxListenersExceededWarning')).toEqual([]);
      expect(await executorsIn(red)).toEqual([]);
      setFlagsFromString('--expose-gc');
      const collectGarbage = runInNewContext('gc') as () => void;
      await eventually(() => {
        collectGarbage();
        const alive = engines.filter((engine) => engine.deref() !== undefined).length;
        expect(alive).toBeLessThan(ROUNDS / 10);
      });
    }, 60_000);

    it('leaves nothing behind of modules that were compiled and never initialised', async () => {
      const before = await footprint();
      for (let round = 0; round < 20; round += 1) {
        const nestApp = await createNestApp({
          url: red.url,
          providers: [Mailer, Campaign],
          options: { sessionUrl: red.url },
        });
        await nestApp.close();
      }
      await expectNoMoreThan(before);
    });

    it('leaves nothing behind of applications whose bootstrap failed', async () => {
      const before = await footprint();
      @Injectable()
      class Failing {
        onApplicationBootstrap(): void {
          throw new Error('no licence');
        }
      }
      for (let round = 0; round < 10; round += 1) {
        const nestApp = await createNestApp({
          url: red.url,
          providers: [Mailer, Campaign, Failing],
          options: { sessionUrl: red.url },
        });
        await expect(nestApp.app.init()).rejects.toThrow('no licence');
        await nestApp.close();
      }
      await expectNoMoreThan(before);
      expect(await executorsIn(red)).toEqual([]);
    });

    async function executorsIn({ url }: TestDatabase): Promise<unknown> {
      const prisma = openPrisma(url);
      const executors = await prisma.$queryRaw`SELECT id FROM dbos.executors`;
      await prisma.$disconnect();
      return executors;
    }
  });

  describe('of the module’s ways to be configured', () => {
    const CLIENT = 'ClientOfThisTest';
    let prisma: PrismaClient;

    beforeEach(() => {
      prisma = openPrisma(red.url);
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
  });
});
