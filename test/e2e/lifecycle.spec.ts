// When an application starts: nothing runs before every hook has finished, and nothing is held up by what runs.
import {
  Controller,
  Get,
  Global,
  Inject,
  Injectable,
  Module,
  Scope,
  type OnApplicationBootstrap,
  type OnModuleInit,
  type Provider,
  type Type,
} from '@nestjs/common';
import { WorkflowService } from 'nestjs-dbos';
import request from 'supertest';
import { begun, Errand, ErrandApps, Journal } from '../support/errand-apps.js';
import { eventually } from '../support/eventually.js';
import type { NestAppSettings } from '../support/nest-app.js';

describe('The start of an application', () => {
  let apps: ErrandApps;

  beforeAll(async () => {
    apps = await ErrandApps.open();
  });

  afterEach(() => apps.endAll());

  afterAll(() => apps.close());

  /** A class whose hooks take long; the journal tells when they have finished. */
  function slowHooks(journal: Journal): Type {
    class Slow implements OnModuleInit, OnApplicationBootstrap {
      async onModuleInit(): Promise<void> {
        await apps.timeForMuch();
        journal.note('initialised');
      }

      async onApplicationBootstrap(): Promise<void> {
        await apps.timeForMuch();
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
          constructor(@Inject(slow) readonly injected: object) {}
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
      await apps.abandon(workflowId);
      const journal = new Journal();

      const { workflows } = await apps.start(settingsOf(slowHooks(journal)), journal);
      await workflows.handle(workflowId).result();

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

    const { workflows } = await apps.start(
      { after: [moduleWith(Starter)], providers: [slowHooks(journal)] },
      journal,
    );
    await workflows.handle('B22 hook').result();

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
    await apps.abandon('B22 listen');
    const journal = new Journal();
    journal.shut('first');

    const { app, workflows } = await apps.create({ controllers: [Greeting] }, journal);
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
  ])('B22: refuses a bootstrap hook that awaits %s, which would never end', async (_what, ask) => {
    let refusal: unknown;
    @Injectable()
    class Impatient implements OnApplicationBootstrap {
      constructor(
        private readonly workflows: WorkflowService,
        private readonly errand: Errand,
      ) {}

      async onApplicationBootstrap(): Promise<void> {
        refusal = await ask(this.workflows, this.errand).catch((error: unknown) => error);
      }
    }

    await apps.start({ providers: [Impatient] });

    expect(refusal).toMatchObject({
      code: 'DBOS_NOT_RUNNING',
      message: expect.stringContaining('onApplicationBootstrap'),
    });
  });

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

    await apps.start({ before: [moduleWith(Early)] });

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

    await apps.start({ before: [moduleWith(Eager)] });

    expect(refusal).toMatchObject({
      code: 'DBOS_NOT_RUNNING',
      message: expect.stringContaining('Errand.run'),
    });
  });

  it('runs nothing when a bootstrap hook fails, and leaves the work to the next application', async () => {
    await apps.abandon('failed bootstrap');
    @Injectable()
    class Failing implements OnApplicationBootstrap {
      async onApplicationBootstrap(): Promise<void> {
        await apps.timeForMuch();
        throw new Error('no licence');
      }
    }
    const failing = await apps.create({ providers: [Failing] });
    await expect(failing.app.init()).rejects.toThrow('no licence');
    await failing.app.close();
    expect(failing.journal.entries).toEqual([]);

    const { workflows } = await apps.start();

    expect(await workflows.handle('failed bootstrap').result()).toBe('second');
  });

  it('leaves the hooks of the application as it found them', async () => {
    const journal = new Journal();
    const Slow = slowHooks(journal);
    const { app } = await apps.start({ providers: [Slow] }, journal);
    expect(Object.hasOwn(app.get<object>(Slow), 'onApplicationBootstrap')).toBe(false);
  });
});
