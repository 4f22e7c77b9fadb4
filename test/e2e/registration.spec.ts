// What cannot work is refused when the application is put together or started, with the class and the cure.
import {
  Controller,
  Global,
  Injectable,
  Module,
  Scope,
  type Provider,
  type Type,
} from '@nestjs/common';
import { DbosModule, Step, Workflow, type DbosModuleOptions } from 'nestjs-dbos';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { Checkout, Payments } from '../support/checkout.js';
import { NestApps, QUICK, type NestAppSettings } from '../support/nest-app.js';
import { PRISMA } from '../support/test-app.js';

describe('B68: registration errors are early, typed, and name the class and the cure', () => {
  let apps: NestApps;

  beforeAll(async () => {
    apps = await NestApps.open();
  });

  afterEach(() => apps.endAll());

  afterAll(() => apps.close());

  /** What the application says when it is put together and started. */
  async function refusal(
    providers: Provider[],
    settings: Partial<NestAppSettings> = {},
  ): Promise<{ code: string; message: string }> {
    const boot = async (): Promise<never> => {
      await apps.start(providers, settings);
      throw new Error('The application started.');
    };
    return boot().catch((error: { code: string; message: string }) => error);
  }

  /** What happens while the class is being declared. */
  function declaring(declare: () => unknown): { code: string; message: string } {
    try {
      declare();
    } catch (error) {
      return error as { code: string; message: string };
    }
    throw new Error('The class was accepted.');
  }

  it('two classes whose workflows have one name', async () => {
    @Injectable()
    class Import {
      @Workflow({ name: 'nightly' })
      async run(): Promise<void> {}
    }
    @Injectable()
    class Export {
      @Workflow({ name: 'nightly' })
      async run(): Promise<void> {}
    }
    const { code, message } = await refusal([Import, Export]);
    expect(code).toBe('DBOS_REGISTRATION');
    expect(message).toContain('"nightly"');
    expect(message).toContain('Import');
    expect(message).toContain('Export');
  });

  it('a workflow class that two modules provide', async () => {
    @Module({ providers: [Payments, Checkout] })
    class Shop {}
    @Module({ providers: [Payments, Checkout] })
    class BackOffice {}
    const { code, message } = await refusal([], { before: [Shop, BackOffice] });
    expect(code).toBe('DBOS_REGISTRATION');
    expect(message).toContain('Checkout');
    expect(message).toMatch(/twice|two modules|one module|export/i);
  });

  it('a request-scoped workflow class', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class PerRequest {
      @Workflow()
      async run(): Promise<void> {}
    }
    expect(await refusal([PerRequest])).toMatchObject({
      code: 'DBOS_REGISTRATION',
      message: expect.stringMatching(/PerRequest.*singleton/s),
    });
  });

  it('a workflow class that injects something request-scoped', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class Session {}
    @Injectable()
    class Bubbled {
      constructor(readonly session: Session) {}

      @Workflow()
      async run(): Promise<void> {}
    }
    expect(await refusal([Session, Bubbled])).toMatchObject({
      code: 'DBOS_REGISTRATION',
      message: expect.stringMatching(/Bubbled.*resolve\(\)/s),
    });
  });

  it('a transient workflow class', async () => {
    @Injectable({ scope: Scope.TRANSIENT })
    class Fleeting {
      @Workflow()
      async run(): Promise<void> {}
    }
    expect(await refusal([Fleeting])).toMatchObject({
      code: 'DBOS_REGISTRATION',
      message: expect.stringMatching(/Fleeting.*singleton/s),
    });
  });

  it.each([
    ['workflow', Workflow()],
    ['step', Step()],
  ])('a %s on a controller', async (_kind, mark) => {
    @Controller()
    class Orders {
      @mark
      async create(): Promise<void> {}
    }
    expect(await refusal([], { controllers: [Orders] })).toMatchObject({
      code: 'DBOS_REGISTRATION',
      message: expect.stringMatching(/Orders\.create.*controller.*provider/s),
    });
  });

  it('a frozen instance with a step', async () => {
    const frozen = Object.freeze(new Payments());
    expect(await refusal([{ provide: Payments, useValue: frozen }])).toMatchObject({
      code: 'DBOS_REGISTRATION',
      message: expect.stringMatching(/Payments\.charge.*frozen.*extended/s),
    });
  });

  it.each([
    ['@Step() twice', Step(), Step()],
    ['@Workflow() twice', Workflow(), Workflow()],
    ['@Workflow() and @Step()', Workflow(), Step()],
  ])('%s on one method', (_what, first, second) => {
    const { code, message } = declaring(() => {
      class Twice {
        @first
        @second
        async work(): Promise<void> {}
      }
      return Twice;
    });
    expect(code).toBe('DBOS_REGISTRATION');
    expect(message).toMatch(/Twice\.work.*once/s);
  });

  it('a mark on a static method, named by its class', () => {
    const { code, message } = declaring(() => {
      class Tools {
        readonly label = 'tools';

        @Step()
        static async work(): Promise<void> {}
      }
      return Tools;
    });
    expect(code).toBe('DBOS_REGISTRATION');
    expect(message).toMatch(/Tools\.work.*instance/s);
  });

  it('a mark on a getter or a symbol', () => {
    const key = Symbol('secret');
    const getter = declaring(() => {
      class Getter {
        @Step()
        get work(): number {
          return 1;
        }
      }
      return Getter;
    });
    const symbol = declaring(() => {
      class Hidden {
        @Step()
        async [key](): Promise<void> {}
      }
      return Hidden;
    });
    expect(getter).toMatchObject({
      code: 'DBOS_REGISTRATION',
      message: expect.stringContaining('Getter.work'),
    });
    expect(symbol).toMatchObject({
      code: 'DBOS_REGISTRATION',
      message: expect.stringContaining('Hidden'),
    });
  });

  it.each([
    [{ maxRetries: -1 }, 'maxRetries'],
    [{ maxRetries: 1.5 }, 'maxRetries'],
    [{ backoffFactor: 0.5 }, 'backoffFactor'],
    [{ timeoutMs: 0 }, 'timeoutMs'],
    [{ baseIntervalMs: Number.NaN }, 'baseIntervalMs'],
    [{ name: '' }, 'name'],
  ])('step options %j, where they are written', (options, option) => {
    const { code, message } = declaring(() => {
      class Misconfigured {
        @Step(options)
        async work(): Promise<void> {}
      }
      return Misconfigured;
    });
    expect(code).toBe('DBOS_INVALID_ARGUMENT');
    expect(message).toContain(option);
    expect(message).toContain('Misconfigured.work');
  });

  it.each([
    [{ maxRecoveryAttempts: -1 }, 'maxRecoveryAttempts'],
    [{ name: '' }, 'name'],
  ])('workflow options %j', async (options, option) => {
    const boot = async (): Promise<{ code: string; message: string }> => {
      @Injectable()
      class Misconfigured {
        @Workflow(options)
        async run(): Promise<void> {}
      }
      return refusal([Misconfigured]);
    };
    const { code, message } = await boot().catch(
      (error: { code: string; message: string }) => error,
    );
    expect(code).toBe('DBOS_INVALID_ARGUMENT');
    expect(message).toContain(option);
    expect(message).toContain('Misconfigured.run');
  });

  it('a missing prisma option', async () => {
    const options = { ...QUICK } as unknown as DbosModuleOptions;
    expect(await refusal([], { dbos: [DbosModule.forRoot(options)] })).toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
      message: expect.stringMatching(/DbosModule.*prisma: PrismaService/s),
    });
  });

  it.each<[string, string | symbol | Type]>([
    [
      'a class',
      class PrismaService {
        readonly label = 'prisma';
      },
    ],
    ['a string', 'PrismaService'],
    ['a symbol', Symbol('PrismaService')],
  ])('a prisma token that nobody provides: %s', async (_kind, prisma) => {
    expect(await refusal([], { options: { prisma } })).toMatchObject({
      code: 'DBOS_REGISTRATION',
      message: expect.stringMatching(/PrismaService.*providers/s),
    });
  });

  it('a prisma token behind which there is no Prisma client', async () => {
    const given = { provide: 'Wrong', useValue: { findMany: () => [] } };
    const booting = refusal([given], { options: { prisma: 'Wrong' } });
    expect(await booting).toMatchObject({
      code: expect.stringMatching(/^DBOS_/),
      message: expect.stringMatching(/Wrong/),
    });
  });

  it.each<[string, () => NestAppSettings['dbos']]>([
    [
      'forRoot twice',
      () => [
        DbosModule.forRoot({ prisma: PRISMA, ...QUICK }),
        DbosModule.forRoot({ prisma: PRISMA, ...QUICK }),
      ],
    ],
    [
      'forRoot and forRootAsync',
      () => [
        DbosModule.forRoot({ prisma: PRISMA, ...QUICK }),
        DbosModule.forRootAsync({ useFactory: () => ({ prisma: PRISMA, ...QUICK }) }),
      ],
    ],
  ])('%s', async (_what, dbos) => {
    expect(await refusal([], { dbos: dbos() })).toMatchObject({
      code: 'DBOS_REGISTRATION',
      message: expect.stringMatching(/DbosModule\.forRoot.*once.*root module/s),
    });
  });

  it('accepts one dynamic module that is imported in two places', async () => {
    const dbos = DbosModule.forRoot({ prisma: PRISMA, ...QUICK });
    @Global()
    @Module({ imports: [dbos] })
    class Feature {}
    const { workflows } = await apps.start([Payments, Checkout], {
      dbos: [dbos],
      after: [Feature],
    });
    expect(await workflows.execute(Checkout).run(1)).toEqual({ amount: 1 });
  });

  it('a registration after the launch', async () => {
    const { app } = await apps.start([Payments, Checkout]);
    const { code, message } = declaring(() =>
      app.get(Engine).register('Late.run', () => undefined),
    );
    expect(code).toBe('DBOS_REGISTRATION');
    expect(message).toMatch(/Late\.run.*before/s);
  });

  it('a start before the application is initialised', async () => {
    const { workflows, app } = await apps.create({ providers: [Payments, Checkout] });
    const starting = async (): Promise<unknown> => workflows.start(Checkout).run(1);
    await expect(starting()).rejects.toMatchObject({
      code: 'DBOS_NOT_RUNNING',
      message: expect.stringMatching(/Checkout\.run.*init/s),
    });
    await app.init();
  });

  it('a start of a method that is no workflow', async () => {
    const { workflows } = await apps.start([Payments, Checkout]);
    const starting = async (): Promise<unknown> =>
      (workflows.start(Checkout) as unknown as { unmarked(): unknown }).unmarked();
    await expect(starting()).rejects.toMatchObject({
      code: 'DBOS_WORKFLOW_NOT_REGISTERED',
      message: expect.stringMatching(/Checkout\.unmarked.*@Workflow\(\)/s),
    });
  });

  it('a start of a class that nobody provides', async () => {
    @Injectable()
    class Forgotten {
      @Workflow()
      async run(): Promise<void> {}
    }
    const { workflows } = await apps.start([]);
    const starting = async (): Promise<unknown> => workflows.start(Forgotten).run();
    await expect(starting()).rejects.toMatchObject({
      code: 'DBOS_WORKFLOW_NOT_REGISTERED',
      message: expect.stringMatching(/Forgotten\.run.*providers/s),
    });
  });
});
