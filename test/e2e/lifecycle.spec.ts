// When things happen: nothing runs before the application is ready, and nothing begins once its end has begun.
import { setTimeout as delay } from 'node:timers/promises';
import {
  Controller,
  Get,
  Global,
  Inject,
  Injectable,
  Module,
  Scope,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
  type OnModuleInit,
  type Provider,
  type Type,
} from '@nestjs/common';
import { PrismaPg } from '@prisma/adapter-pg';
import { DbosModule, Step, Workflow, WorkflowContext, WorkflowService } from 'nestjs-dbos';
import { CheckpointRepository } from 'nestjs-dbos';
import pg from 'pg';
import request from 'supertest';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import {
  createNestApp,
  openPrisma,
  QUICK,
  startNestApp,
  type NestApp,
  type NestAppSettings,
} from '../support/nest-app.js';
import { startGatedApp } from '../support/gated-app.js';
import { startTestApp } from '../support/test-app.js';

/** Many times what the engine needs from its launch to the first step body. */
const SLOW_MS = 80;
/** What a shutdown may take without a database: grace, unwinding, 5 s for the hand-over, and a slow machine. */
const BOUND_MS = 8_000;

/** What happened, in order, and the gates at which step bodies wait for the test. */
class Journal {
  readonly entries: string[] = [];
  private readonly gates = new Map<string, ReturnType<typeof deferred<void>>>();

  note(entry: string): void {
    this.entries.push(entry);
  }

  /** Passes at once unless the test has shut the gate. */
  async pass(gate: string, signal?: AbortSignal): Promise<void> {
    const shut = this.gates.get(gate);
    if (!shut) return;
    const aborted = new Promise<never>((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
    await (signal ? Promise.race([shut.promise, aborted]) : shut.promise);
  }

  shut(gate: string): void {
    this.gates.set(gate, deferred<void>());
  }

  open(gate: string): void {
    this.gates.get(gate)?.resolve();
    this.gates.delete(gate);
  }
}

@Injectable()
class Errand {
  constructor(
    private readonly journal: Journal,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow()
  async run(): Promise<string> {
    await this.first();
    return this.second();
  }

  @Step()
  async first(): Promise<string> {
    this.journal.note('first begins');
    await this.journal.pass('first', this.flow.stepContext.signal);
    this.journal.note('first ends');
    return 'first';
  }

  @Step()
  async second(): Promise<string> {
    this.journal.note('second begins');
    await this.journal.pass('second', this.flow.stepContext.signal);
    return 'second';
  }

  /** Ends when it likes, whatever its signal says. */
  @Workflow()
  async stubborn(): Promise<string> {
    await this.deaf();
    return this.second();
  }

  @Step()
  async deaf(): Promise<void> {
    this.journal.note('deaf begins');
    await this.journal.pass('deaf');
    this.journal.note('deaf ends');
  }

  /** Begins a child only after its first step. */
  @Workflow()
  async parent(): Promise<string> {
    await this.first();
    return this.run();
  }
}

function journalProvider(journal: Journal): Provider {
  return { provide: Journal, useValue: journal };
}

/** Bodies of the steps above that have begun. */
function begun(journal: Journal): string[] {
  return journal.entries.filter((entry) => entry.endsWith('begins'));
}

describe('The lifecycle', () => {
  let database: TestDatabase;
  let observer: PrismaClient;
  const opened: NestApp[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    observer = openPrisma(database.url);
  });

  // What an application leaves unfinished here must not be taken up by that of the next test.
  afterEach(async () => {
    await Promise.all(opened.splice(0).map(end));
    await observer.$executeRaw`TRUNCATE dbos.workflows, dbos.steps, dbos.executors`;
  });

  afterAll(async () => {
    await observer.$disconnect();
    await database.drop();
  });

  /** Whatever state a test has left it in. */
  async function end({ app, prisma }: NestApp): Promise<void> {
    const closing = app.close().catch(() => undefined);
    await Promise.race([closing, delay(BOUND_MS, undefined, { ref: false })]);
    await app.get(CheckpointRepository).close();
    await closing;
    await prisma.$disconnect();
  }

  async function create(
    settings: Partial<NestAppSettings>,
    journal = new Journal(),
  ): Promise<NestApp & { journal: Journal }> {
    const nestApp = await createNestApp({
      url: database.url,
      ...settings,
      providers: [journalProvider(journal), Errand, ...(settings.providers ?? [])],
    });
    opened.push(nestApp);
    return { ...nestApp, journal };
  }

  async function start(
    settings: Partial<NestAppSettings> = {},
    journal = new Journal(),
  ): Promise<NestApp & { journal: Journal }> {
    const created = await create(settings, journal);
    await created.app.init();
    return created;
  }

  /** A workflow whose process died in the middle of its first step. */
  async function abandon(workflowId: string): Promise<void> {
    const journal = new Journal();
    journal.shut('first');
    const dying = await startTestApp({
      url: database.url,
      providers: [journalProvider(journal), Errand],
    });
    await dying.workflows.start(Errand, { workflowId }).run();
    await eventually(() => expect(begun(journal)).toEqual(['first begins']));
    await dying.kill();
  }

  /** A workflow of `first` and `second` that is in its first step. */
  async function inFirstStep(
    { workflows, journal }: NestApp & { journal: Journal },
    workflowId: string,
  ): Promise<void> {
    journal.shut('first');
    await workflows.start(Errand, { workflowId }).run();
    await eventually(() => expect(journal.entries).toContain('first begins'));
  }

  async function stepNames(workflows: WorkflowService, workflowId: string): Promise<string[]> {
    return (await workflows.steps(workflowId)).map(({ name }) => name);
  }

  describe('at the start', () => {
    /** A class whose hooks take long; the journal tells when they have finished. */
    function slowHooks(journal: Journal): Type {
      class Slow implements OnModuleInit, OnApplicationBootstrap {
        async onModuleInit(): Promise<void> {
          await delay(SLOW_MS / 4);
          journal.note('initialised');
        }

        async onApplicationBootstrap(): Promise<void> {
          await delay(SLOW_MS);
          journal.note('bootstrapped');
        }
      }
      return Slow;
    }

    function moduleWith(provider: Provider, isGlobal = false): Type {
      @Module({ providers: [provider] })
      class Feature {}
      if (isGlobal) Global()(Feature);
      return Feature;
    }

    const HOSTS: Array<[string, (slow: Type) => Partial<NestAppSettings>]> = [
      ['a provider of the root module', (slow) => ({ providers: [slow] })],
      ['a provider of a module imported before', (slow) => ({ before: [moduleWith(slow)] })],
      ['a provider of a module imported after', (slow) => ({ after: [moduleWith(slow)] })],
      ['a provider of a global module', (slow) => ({ after: [moduleWith(slow, true)] })],
      [
        'a module class imported before',
        (slow) => {
          Module({})(slow);
          return { before: [slow] };
        },
      ],
      [
        'a module class imported after',
        (slow) => {
          Module({})(slow);
          return { after: [slow] };
        },
      ],
      [
        'a controller',
        (slow) => {
          Controller()(slow);
          return { controllers: [slow] };
        },
      ],
      [
        'a provider made by a factory',
        (slow) => ({ providers: [{ provide: 'made', useFactory: () => new slow() }] }),
      ],
      ['a provided value', (slow) => ({ providers: [{ provide: 'value', useValue: new slow() }] })],
      [
        'a provider with an alias',
        (slow) => ({ providers: [{ provide: 'alias', useExisting: slow }, slow] }),
      ],
      [
        'a transient provider',
        (slow) => {
          Injectable({ scope: Scope.TRANSIENT })(slow);
          @Injectable()
          class Holder {
            constructor(@Inject(slow) readonly slow: object) {}
          }
          return { providers: [slow, Holder] };
        },
      ],
      [
        'one value that two modules provide',
        (slow) => {
          const value = new slow();
          const provider = { provide: 'value', useValue: value };
          return { before: [moduleWith(provider)], after: [moduleWith(provider)] };
        },
      ],
    ];

    it.each(HOSTS)(
      'B22: runs no recovered step before the slow hooks of %s have finished',
      async (host, settingsOf) => {
        const workflowId = `B22 ${host}`;
        await abandon(workflowId);
        const journal = new Journal();

        const { workflows } = await start(settingsOf(slowHooks(journal)), journal);
        await workflows.handle(workflowId).result({ timeout: 4_000 });

        const firstBody = journal.entries.indexOf('first begins');
        expect(journal.entries.lastIndexOf('initialised')).toBeGreaterThanOrEqual(0);
        expect(journal.entries.lastIndexOf('initialised')).toBeLessThan(firstBody);
        expect(journal.entries.lastIndexOf('bootstrapped')).toBeGreaterThanOrEqual(0);
        expect(journal.entries.lastIndexOf('bootstrapped')).toBeLessThan(firstBody);
      },
    );

    it('B22: runs a workflow that a bootstrap hook started only after all the others', async () => {
      const journal = new Journal();
      @Injectable()
      class Starter implements OnApplicationBootstrap {
        constructor(private readonly workflows: WorkflowService) {}

        async onApplicationBootstrap(): Promise<void> {
          await this.workflows.start(Errand, { workflowId: 'B22 hook' }).run();
          journal.note('started');
        }
      }

      const { workflows } = await start(
        { after: [moduleWith(Starter)], providers: [slowHooks(journal)] },
        journal,
      );
      await workflows.handle('B22 hook').result({ timeout: 4_000 });

      expect(journal.entries.slice(0, 4)).toEqual([
        'initialised',
        'started',
        'bootstrapped',
        'first begins',
      ]);
    });

    it('B22: listens while recovered workflows are still being replayed', async () => {
      @Controller()
      class Greeting {
        @Get()
        greet(): string {
          return 'hello';
        }
      }
      await abandon('B22 listen');
      const journal = new Journal();
      journal.shut('first');

      const { app, workflows } = await create({ controllers: [Greeting] }, journal);
      await app.listen(0, '127.0.0.1');
      await eventually(() => expect(begun(journal)).toEqual(['first begins']));
      const response = await request(app.getHttpServer()).get('/');
      journal.open('first');

      expect(response.text).toBe('hello');
      expect(await workflows.handle('B22 listen').result()).toBe('second');
    });

    it.each<[string, (workflows: WorkflowService, errand: Errand) => Promise<unknown>]>([
      ['handle.result()', async (w) => (await w.start(Errand).run()).result()],
      ['workflows.execute()', (w) => w.execute(Errand).run()],
      ['the workflow method itself', (_w, errand) => errand.run()],
    ])(
      'B22: refuses a bootstrap hook that awaits %s, which would never end',
      async (_what, wait) => {
        let refusal: unknown;
        @Injectable()
        class Impatient implements OnApplicationBootstrap {
          constructor(
            private readonly workflows: WorkflowService,
            private readonly errand: Errand,
          ) {}

          async onApplicationBootstrap(): Promise<void> {
            refusal = await wait(this.workflows, this.errand).catch((error: unknown) => error);
          }
        }

        await start({ providers: [Impatient] });

        expect(refusal).toMatchObject({
          code: 'DBOS_NOT_RUNNING',
          message: expect.stringContaining('onApplicationBootstrap'),
        });
      },
    );

    it('says in onModuleInit that workflows can be started after the bootstrap only', async () => {
      let refusal: unknown;
      @Injectable()
      class Early implements OnModuleInit {
        constructor(private readonly workflows: WorkflowService) {}

        async onModuleInit(): Promise<void> {
          const starting = async (): Promise<unknown> => this.workflows.start(Errand).run();
          refusal = await starting().catch((error: unknown) => error);
        }
      }

      await start({ before: [moduleWith(Early)] });

      expect(refusal).toMatchObject({ code: 'DBOS_NOT_RUNNING' });
    });

    it('refuses a start in a bootstrap hook that comes before the launch, and says when to start', async () => {
      let refusal: unknown;
      @Injectable()
      class Eager implements OnApplicationBootstrap {
        constructor(private readonly workflows: WorkflowService) {}

        async onApplicationBootstrap(): Promise<void> {
          refusal = await this.workflows
            .start(Errand)
            .run()
            .catch((error: unknown) => error);
        }
      }

      await start({ before: [moduleWith(Eager)] });

      expect(refusal).toMatchObject({
        code: 'DBOS_NOT_RUNNING',
        message: expect.stringContaining('Errand.run'),
      });
    });

    it('runs nothing when a bootstrap hook fails, and leaves the work to the next application', async () => {
      await abandon('failed bootstrap');
      @Injectable()
      class Failing implements OnApplicationBootstrap {
        async onApplicationBootstrap(): Promise<void> {
          await delay(SLOW_MS);
          throw new Error('no licence');
        }
      }
      const failing = await create({ providers: [Failing] });
      await expect(failing.app.init()).rejects.toThrow('no licence');
      await failing.app.close();
      expect(failing.journal.entries).toEqual([]);

      const { workflows } = await start();

      expect(await workflows.handle('failed bootstrap').result()).toBe('second');
    });

    it('leaves the hooks of the application as it found them', async () => {
      const journal = new Journal();
      const Slow = slowHooks(journal);
      const { app } = await start({ providers: [Slow] }, journal);
      expect(Object.hasOwn(app.get<object>(Slow), 'onApplicationBootstrap')).toBe(false);
    });
  });

  describe('at the end', () => {
    it('lets the step body in flight end, records it, and begins no other', async () => {
      const first = await start({ options: { shutdown: { graceMs: 5_000 } } });
      await inFirstStep(first, 'in flight');

      const closing = first.app.close();
      first.journal.open('first');
      await closing;
      expect(begun(first.journal)).toEqual(['first begins']);

      const second = await start();
      expect(await second.workflows.handle('in flight').result()).toBe('second');
      expect(begun(second.journal)).toEqual(['second begins']);
      expect(await stepNames(second.workflows, 'in flight')).toEqual([
        'Errand.first',
        'Errand.second',
      ]);
    });

    it('begins no step while a provider of the root module takes long to be destroyed', async () => {
      const journal = new Journal();
      const destroying = deferred<void>();
      @Injectable()
      class SlowToDestroy implements OnModuleDestroy {
        async onModuleDestroy(): Promise<void> {
          destroying.resolve();
          await delay(SLOW_MS);
        }
      }
      const first = await start({ providers: [SlowToDestroy] }, journal);
      await inFirstStep(first, 'slow destroy');

      const closing = first.app.close();
      await destroying.promise;
      journal.open('first');
      await closing;

      expect(begun(journal)).toEqual(['first begins']);
    });

    it('aborts the signal of a body that is still at work after graceMs', async () => {
      const journal = new Journal();
      const reason = deferred<unknown>();
      @Injectable()
      class Patient {
        constructor(private readonly flow: WorkflowContext) {}

        @Workflow()
        async run(): Promise<void> {
          await this.work();
        }

        @Step()
        async work(): Promise<void> {
          const { signal } = this.flow.stepContext;
          journal.note('at work');
          await new Promise<void>((resolve) => {
            signal.addEventListener('abort', () => resolve(), { once: true });
          });
          reason.resolve(signal.reason);
        }
      }
      const graceMs = 100;
      const first = await start({ providers: [Patient], options: { shutdown: { graceMs } } });
      await first.workflows.start(Patient, { workflowId: 'patient' }).run();
      await eventually(() => expect(journal.entries).toEqual(['at work']));

      const startedAt = performance.now();
      const closing = first.app.close();
      expect(await reason.promise).toMatchObject({ code: 'DBOS_EXECUTOR_STOPPING' });
      expect(performance.now() - startedAt).toBeGreaterThanOrEqual(graceMs);
      await closing;

      expect(
        await observer.$queryRaw`SELECT name FROM dbos.steps WHERE workflow_id = 'patient'`,
      ).toEqual([]);
    });

    it('waits for a body that ignores its signal no longer than graceMs and a little', async () => {
      const first = await start({ options: { shutdown: { graceMs: 50 } } });
      first.journal.shut('deaf');
      await first.workflows.start(Errand, { workflowId: 'deaf' }).stubborn();
      await eventually(() => expect(begun(first.journal)).toEqual(['deaf begins']));

      const startedAt = performance.now();
      await first.app.close();
      expect(performance.now() - startedAt).toBeLessThan(2_000);
      first.journal.open('deaf');

      const second = await start();
      expect(await second.workflows.handle('deaf').result()).toBe('second');
      expect(await stepNames(second.workflows, 'deaf')).toEqual(['Errand.deaf', 'Errand.second']);
      expect(begun(first.journal)).toEqual(['deaf begins']);
    });

    it('hands unfinished work back at once, as no recovery', async () => {
      const first = await start();
      await inFirstStep(first, 'handed back');
      await first.app.close();

      const [row] = await observer.$queryRaw<unknown[]>`
        SELECT status, executor_id, recovery_attempts FROM dbos.workflows WHERE id = 'handed back'`;
      const executors = await observer.$queryRaw<unknown[]>`SELECT id FROM dbos.executors`;

      expect(row).toEqual({ status: 'ENQUEUED', executor_id: null, recovery_attempts: 0 });
      expect(executors).toEqual([]);
    });

    it('leaves no executor behind when a heartbeat is under way at its end', async () => {
      const nestApp = await startGatedApp({ url: database.url });
      const heartbeat = nestApp.gates.hold('beat AS', 'unsent');
      const leaving = nestApp.gates.hold('DELETE FROM dbos.executors WHERE', 'committed');
      await heartbeat.reached;

      const closing = nestApp.close();
      // Either it leaves with the heartbeat under way, or it waits for that first.
      await Promise.race([leaving.reached, delay(SLOW_MS)]);
      heartbeat.open();
      await delay(SLOW_MS);
      leaving.open();
      await closing;

      expect(await observer.$queryRaw`SELECT id FROM dbos.executors`).toEqual([]);
    });

    it('refuses to start a workflow once the shutdown is over', async () => {
      const { app, workflows } = await start();
      await app.close();
      await expect(workflows.start(Errand).run()).rejects.toMatchObject({
        code: 'DBOS_NOT_RUNNING',
      });
    });

    it('releases whoever awaits a result when the engine stops', async () => {
      const first = await start();
      await inFirstStep(first, 'awaited');
      const waiting = first.workflows.handle('awaited').result();
      const refused = expect(waiting).rejects.toMatchObject({ code: 'DBOS_NOT_RUNNING' });
      await first.app.close();
      await refused;
    });

    it.each<[string, (provider: Provider) => Partial<NestAppSettings>]>([
      [
        'a module imported before',
        (provider) => {
          @Module({ providers: [provider] })
          class Feature {}
          return { before: [Feature] };
        },
      ],
      [
        'a module imported after',
        (provider) => {
          @Module({ providers: [provider] })
          class Feature {}
          return { after: [Feature] };
        },
      ],
      ['the root module', (provider) => ({ providers: [provider] })],
    ])(
      'destroys a provider of %s only after step bodies have ended',
      async (_where, settingsOf) => {
        const journal = new Journal();
        @Injectable()
        class Gateway implements OnModuleDestroy {
          onModuleDestroy(): void {
            journal.note('gateway destroyed');
          }
        }
        const first = await start(
          { ...settingsOf(Gateway), options: { shutdown: { graceMs: 5_000 } } },
          journal,
        );
        await inFirstStep(first, `destroyed ${_where}`);

        const closing = first.app.close();
        await delay(SLOW_MS / 2);
        journal.open('first');
        await closing;

        expect(journal.entries).toEqual(['first begins', 'first ends', 'gateway destroyed']);
      },
    );

    describe('with a PrismaService that disconnects in onModuleDestroy', () => {
      /** What is connected to the database of this file, but for the one that asks. */
      async function connections(): Promise<number> {
        const client = new pg.Client({ connectionString: database.url });
        await client.connect();
        const { rows } = await client.query<{ count: number }>(
          `SELECT count(*)::int AS count FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`,
        );
        await client.end();
        return rows[0]!.count;
      }

      function prismaService(journal: Journal): Type<PrismaClient> {
        @Injectable()
        class PrismaService extends PrismaClient implements OnModuleDestroy {
          constructor() {
            super({ adapter: new PrismaPg({ connectionString: database.url }) });
          }

          async onModuleDestroy(): Promise<void> {
            journal.note('prisma disconnects');
            await this.$disconnect();
          }
        }
        return PrismaService;
      }

      it.each<[string, (service: Type) => Partial<NestAppSettings>]>([
        [
          'in a global module before DbosModule',
          (service) => {
            @Global()
            @Module({ providers: [service], exports: [service] })
            class PrismaModule {}
            return { before: [PrismaModule] };
          },
        ],
        [
          'in a global module after DbosModule',
          (service) => {
            @Global()
            @Module({ providers: [service], exports: [service] })
            class PrismaModule {}
            return { after: [PrismaModule] };
          },
        ],
        [
          'in a module before DbosModule',
          (service) => {
            @Module({ providers: [service], exports: [service] })
            class PrismaModule {}
            return { before: [PrismaModule] };
          },
        ],
        ['in the root module', (service) => ({ providers: [service] })],
      ])('drains before it disconnects: %s', async (where, settingsOf) => {
        const journal = new Journal();
        const service = prismaService(journal);
        const before = await connections();
        const first = await start(
          {
            ...settingsOf(service),
            dbos: [DbosModule.forRoot({ ...QUICK, prisma: service, shutdown: { graceMs: 5_000 } })],
          },
          journal,
        );
        await inFirstStep(first, `prisma ${where}`);

        const closing = first.app.close();
        await delay(SLOW_MS / 2);
        journal.open('first');
        await closing;

        expect(journal.entries).toEqual(['first begins', 'first ends', 'prisma disconnects']);
        await eventually(async () => expect(await connections()).toBe(before));
      });
    });
  });

  describe('shutdown times', () => {
    it('B40: waits drainMs for a workflow that does not end, and leaves it unfinished', async () => {
      const first = await start();
      await inFirstStep(first, 'B40 blocked');

      const startedAt = performance.now();
      await first.app.get(Engine).shutdown({ drainMs: 300, graceMs: 0 });

      expect(performance.now() - startedAt).toBeGreaterThanOrEqual(299);
      const second = await start();
      expect(await second.workflows.handle('B40 blocked').result()).toBe('second');
    });

    it('B40: drains running workflows to their end, steps and all', async () => {
      const first = await start({ options: { shutdown: { drainMs: 10_000 } } });
      await inFirstStep(first, 'B40 drained');

      const startedAt = performance.now();
      const closing = first.app.close();
      first.journal.open('first');
      await closing;

      expect(performance.now() - startedAt).toBeLessThan(5_000);
      expect(begun(first.journal)).toEqual(['first begins', 'second begins']);
    });

    it('B40: waits for a child that is started during the drain', async () => {
      const first = await start({ options: { shutdown: { drainMs: 10_000 } } });
      first.journal.shut('first');
      const handle = await first.workflows.start(Errand, { workflowId: 'B40 parent' }).parent();
      await eventually(() => expect(begun(first.journal)).toEqual(['first begins']));
      const result = handle.result();

      const closing = first.app.close();
      first.journal.open('first');
      await closing;

      expect(await result).toBe('second');
    });

    it('B40: claims nothing new during the drain', async () => {
      const first = await start({ options: { maxConcurrentWorkflows: 1 } });
      await inFirstStep(first, 'B40 running');
      await first.workflows.start(Errand, { workflowId: 'B40 waiting' }).run();

      const draining = first.app.get(Engine).shutdown({ drainMs: 10_000 });
      first.journal.open('first');
      await draining;

      expect(begun(first.journal)).toEqual(['first begins', 'second begins']);
    });

    it.each([-1, Number.NaN, Infinity, '5s' as unknown as number])(
      'B40: refuses a drainMs of %p and stays up',
      async (drainMs) => {
        const { app, workflows } = await start();
        const stopping = async (): Promise<void> => app.get(Engine).shutdown({ drainMs });
        await expect(stopping()).rejects.toMatchObject({
          code: 'DBOS_INVALID_ARGUMENT',
          message: expect.stringContaining('shutdown.drainMs'),
        });
        expect(await workflows.execute(Errand).run()).toBe('second');
      },
    );

    it('B40: refuses unusable times when the application is put together', async () => {
      await expect(start({ options: { shutdown: { graceMs: -5 } } })).rejects.toMatchObject({
        code: 'DBOS_INVALID_ARGUMENT',
        message: expect.stringContaining('shutdown.graceMs'),
      });
    });

    it.each<[string, (engine: Engine) => Promise<void>]>([
      ['while it runs', () => Promise.resolve()],
      ['during its shutdown', () => Promise.resolve()],
      ['after its shutdown', (engine) => engine.shutdown()],
    ])('B40: refuses to launch an engine again %s', async (when, prepare) => {
      const engine = (await start()).app.get(Engine);
      await prepare(engine);
      const stopping = when === 'during its shutdown' ? engine.shutdown() : undefined;
      await expect(engine.launch()).rejects.toMatchObject({ code: 'DBOS_NOT_RUNNING' });
      await stopping;
    });

    it('B40: two shutdowns at the same time wait once', async () => {
      const first = await start();
      await inFirstStep(first, 'B40 twice');
      const engine = first.app.get(Engine);

      const startedAt = performance.now();
      await Promise.all([
        engine.shutdown({ drainMs: 400, graceMs: 0 }),
        engine.shutdown({ drainMs: 400, graceMs: 0 }),
        first.app.close(),
      ]);

      expect(performance.now() - startedAt).toBeLessThan(790);
    });
  });

  describe('without the database', () => {
    const options = {
      databasePatienceMs: 300,
      statementTimeoutMs: 300,
      shutdown: { graceMs: 100 },
    };

    async function losesDatabase(
      how: 'refusing' | 'silent',
      workflowId?: string,
    ): Promise<NestApp> {
      const nestApp = await start({ options });
      if (workflowId) await inFirstStep(nestApp, workflowId);
      nestApp.database.state = how;
      nestApp.journal.open('first');
      await eventually(() => expect(nestApp.database.refused).toBeGreaterThan(3));
      return nestApp;
    }

    async function losesItForGood(): Promise<NestApp> {
      const doomed = await createTestDatabase();
      const nestApp = await start({ url: doomed.url, options });
      await inFirstStep(nestApp, 'dropped');
      await doomed.drop();
      nestApp.journal.open('first');
      return nestApp;
    }

    it('shuts down within a bound, whatever has become of the database and of the work', async () => {
      const nestApps = {
        'idle, refused': await losesDatabase('refusing'),
        'idle, unanswered': await losesDatabase('silent'),
        'working, refused': await losesDatabase('refusing', 'refused'),
        'working, unanswered': await losesDatabase('silent', 'unanswered'),
        'working, dropped': await losesItForGood(),
      };
      const open = new Set(Object.keys(nestApps));

      const closings = Object.entries(nestApps).map(async ([name, { app }]) => {
        await app.close();
        open.delete(name);
      });
      await Promise.race([Promise.all(closings), delay(BOUND_MS, undefined, { ref: false })]);

      expect([...open]).toEqual([]);
    }, 60_000);

    it('goes on by itself when the database comes back', async () => {
      const first = await losesDatabase('refusing', 'back');
      first.database.state = 'up';
      expect(await first.workflows.handle('back').result()).toBe('second');
    });
  });
});
