// How marked methods of the application's own providers become steps and workflows, and which marks are refused.
import {
  CallHandler,
  Controller,
  ExecutionContext,
  Get,
  Global,
  Inject,
  Injectable,
  Module,
  NestInterceptor,
  Scope,
  SetMetadata,
  UseInterceptors,
  type OnModuleInit,
  type Provider,
  type Type,
} from '@nestjs/common';
import { INTERCEPTORS_METADATA } from '@nestjs/common/constants.js';
import { REQUEST, Reflector } from '@nestjs/core';
import { jest } from '@jest/globals';
import type { DbosModuleOptions } from 'nestjs-dbos';
import { DbosModule, Step, Workflow, WorkflowContext, WorkflowService } from 'nestjs-dbos';
import request from 'supertest';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import {
  createNestApp,
  openPrisma,
  QUICK,
  type NestApp,
  type NestAppSettings,
} from '../support/nest-app.js';
import { PRISMA, startTestApp } from '../support/test-app.js';

interface Charge {
  readonly amount: number;
}

@Injectable()
class Payments {
  calls = 0;

  @Step()
  async charge(amount: number): Promise<Charge> {
    this.calls += 1;
    return { amount };
  }
}

@Injectable()
class Checkout {
  constructor(readonly payments: Payments) {}

  @Workflow()
  async run(amount: number): Promise<Charge> {
    return this.payments.charge(amount);
  }

  unmarked(): string {
    return 'plain';
  }
}

describe('The binding of providers', () => {
  let database: TestDatabase;
  const opened: NestApp[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
  });

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((nestApp) => nestApp.close()));
  });

  afterAll(async () => {
    await database.drop();
  });

  async function create(settings: Partial<NestAppSettings>): Promise<NestApp> {
    const nestApp = await createNestApp({ url: database.url, ...settings });
    opened.push(nestApp);
    return nestApp;
  }

  async function start(
    providers: Provider[],
    settings: Partial<NestAppSettings> = {},
  ): Promise<NestApp> {
    const nestApp = await create({ ...settings, providers });
    await nestApp.app.init();
    return nestApp;
  }

  /** Names of the steps that a workflow has recorded. */
  async function stepsOf({ workflows }: NestApp, workflowId: string): Promise<string[]> {
    return (await workflows.steps(workflowId)).map(({ name }) => name);
  }

  /** Runs the workflow `run` of a class to its end and returns the names of its steps. */
  async function recordedBy<T extends { run(): Promise<unknown> }>(
    nestApp: NestApp,
    type: Type<T>,
  ): Promise<string[]> {
    const starting = nestApp.workflows.start(type) as unknown as {
      run(): Promise<{ workflowId: string; result(): Promise<unknown> }>;
    };
    const handle = await starting.run();
    await handle.result();
    return stepsOf(nestApp, handle.workflowId);
  }

  describe('of injected classes', () => {
    it('B23: runs steps on the singleton of the container', async () => {
      const nestApp = await start([Payments, Checkout]);
      await nestApp.workflows.execute(Checkout).run(3);
      expect(nestApp.app.get(Payments).calls).toBe(1);
      expect(nestApp.app.get(Checkout).payments).toBe(nestApp.app.get(Payments));
    });

    it('B23: replays on the singletons of a fresh application', async () => {
      const held = { entered: 0, holds: true };
      const holding = porter(held);
      const dying = await startTestApp({ url: database.url, providers: [Payments, holding] });
      await dying.workflows.start(holding, { workflowId: 'B23 replay' }).run();
      await eventually(() => expect(held.entered).toBe(1));
      await dying.kill();

      const passing = porter({ entered: 0, holds: false });
      const nestApp = await start([Payments, passing]);

      expect(await nestApp.workflows.handle('B23 replay').result()).toEqual({ amount: 7 });
      expect(nestApp.app.get(Payments).calls).toBe(0);
      expect(await stepsOf(nestApp, 'B23 replay')).toEqual(['Payments.charge', 'Porter.hold']);
    });

    it('B23: checkpoints a step that a class calls on itself', async () => {
      @Injectable()
      class Self {
        @Workflow()
        async run(): Promise<string> {
          return this.own();
        }

        @Step()
        async own(): Promise<string> {
          return 'own';
        }
      }
      const nestApp = await start([Self]);
      expect(await recordedBy(nestApp, Self)).toEqual(['Self.own']);
    });

    it('B23: leaves a class that is made without the container a plain class', async () => {
      await start([Payments, Checkout]);
      const payments = new Payments();

      expect(await new Checkout(payments).run(5)).toEqual({ amount: 5 });

      expect(payments.calls).toBe(1);
      expect(Object.hasOwn(payments, 'charge')).toBe(false);
    });

    it('calls a step outside of a workflow as an ordinary method', async () => {
      const { app } = await start([Payments, Checkout]);
      expect(await app.get(Payments).charge(9)).toEqual({ amount: 9 });
    });

    it('starts a workflow when its method is called', async () => {
      const nestApp = await start([Payments, Checkout]);
      expect(await nestApp.app.get(Checkout).run(4)).toEqual({ amount: 4 });
      expect(
        await nestApp.prisma.$queryRaw`
        SELECT count(*)::int AS count FROM dbos.workflows WHERE name = 'Checkout.run' AND input LIKE '%4%'`,
      ).toEqual([{ count: 1 }]);
    });

    it('gives every instance its own methods back when the application closes', async () => {
      const payments = new Payments();
      const nestApp = await start([{ provide: Payments, useValue: payments }, Checkout]);
      expect(Object.hasOwn(payments, 'charge')).toBe(true);
      await nestApp.app.close();
      expect(Object.hasOwn(payments, 'charge')).toBe(false);
    });
  });

  describe('of mocks', () => {
    it('checkpoints the mocked method of a provider that a test overrides', async () => {
      const charge = jest.fn<Payments['charge']>().mockResolvedValue({ amount: 1 });
      const nestApp = await start([Payments, Checkout], {
        override: (testing) => testing.overrideProvider(Payments).useValue({ charge }),
      });

      const handle = await nestApp.workflows.start(Checkout).run(2);

      expect(await handle.result()).toEqual({ amount: 1 });
      expect(await stepsOf(nestApp, handle.workflowId)).toEqual(['Payments.charge']);
    });

    it('leaves a mock a mock: asked by the test and by the container', async () => {
      const charge = jest.fn<Payments['charge']>().mockResolvedValue({ amount: 1 });
      const nestApp = await start([Payments, Checkout], {
        override: (testing) => testing.overrideProvider(Payments).useValue({ charge }),
      });
      await nestApp.workflows.execute(Checkout).run(2);

      const bound = nestApp.app.get(Payments);
      expect(charge).toHaveBeenCalledWith(2);
      expect(bound.charge).toHaveBeenCalledTimes(1);
      expect(jest.isMockFunction(bound.charge)).toBe(true);
      jest.mocked(bound.charge).mockResolvedValue({ amount: 3 });
      expect(await nestApp.workflows.execute(Checkout).run(2)).toEqual({ amount: 3 });
    });

    it('checkpoints a method that a test spies on', async () => {
      const nestApp = await start([Payments, Checkout]);
      const spy = jest.spyOn(nestApp.app.get(Payments), 'charge');
      const handle = await nestApp.workflows.start(Checkout).run(2);
      await handle.result();
      expect(spy).toHaveBeenCalledWith(2);
      expect(await stepsOf(nestApp, handle.workflowId)).toEqual(['Payments.charge']);
    });

    it('accepts a mock that leaves marked methods out', async () => {
      const nestApp = await start([Payments, Checkout], {
        override: (testing) => testing.overrideProvider(Payments).useValue({}),
      });
      await expect(nestApp.workflows.execute(Checkout).run(2)).rejects.toThrow(
        /charge is not a function/,
      );
    });

    it('runs the mocked method of a workflow class', async () => {
      const nestApp = await start([Payments, Checkout], {
        override: (testing) =>
          testing.overrideProvider(Checkout).useValue({ run: async () => ({ amount: 42 }) }),
      });
      expect(await nestApp.workflows.execute(Checkout).run(1)).toEqual({ amount: 42 });
    });
  });

  describe('of other kinds of providers', () => {
    abstract class Port {
      abstract charge(amount: number): Promise<Charge>;
    }

    @Injectable()
    class Stripe extends Port {
      @Step()
      async charge(amount: number): Promise<Charge> {
        return { amount };
      }

      @Step()
      async refund(amount: number): Promise<Charge> {
        return { amount: -amount };
      }
    }

    @Injectable()
    class Order {
      constructor(
        @Inject('payments') private readonly payments: Stripe,
        readonly flow: WorkflowContext,
      ) {}

      @Workflow()
      async run(): Promise<number> {
        const { amount } = await this.payments.charge(2);
        return (await this.payments.refund(amount)).amount;
      }
    }

    const BOTH = ['Stripe.charge', 'Stripe.refund'];

    it.each<[string, Provider[]]>([
      ['useValue', [{ provide: 'payments', useValue: new Stripe() }]],
      ['useFactory', [{ provide: 'payments', useFactory: () => new Stripe() }]],
      ['an async useFactory', [{ provide: 'payments', useFactory: async () => new Stripe() }]],
      [
        'useFactory with inject',
        [
          { provide: 'currency', useValue: 'CHF' },
          { provide: 'payments', inject: ['currency'], useFactory: () => new Stripe() },
        ],
      ],
      ['useClass', [{ provide: 'payments', useClass: Stripe }]],
      ['useExisting after its class', [Stripe, { provide: 'payments', useExisting: Stripe }]],
      ['useExisting before its class', [{ provide: 'payments', useExisting: Stripe }, Stripe]],
    ])('binds a provider made with %s', async (_kind, providers) => {
      const nestApp = await start([...providers, Order]);
      expect(await recordedBy(nestApp, Order)).toEqual(BOTH);
    });

    it.each<[string, Provider[]]>([
      ['useClass', [{ provide: Port, useClass: Stripe }]],
      ['useValue', [{ provide: Port, useValue: new Stripe() }]],
      ['useFactory', [{ provide: Port, useFactory: () => new Stripe() }]],
      ['useExisting after its class', [Stripe, { provide: Port, useExisting: Stripe }]],
      ['useExisting before its class', [{ provide: Port, useExisting: Stripe }, Stripe]],
    ])('binds a provider of an abstract class made with %s', async (_kind, providers) => {
      @Injectable()
      class PortOrder {
        constructor(@Inject(Port) private readonly payments: Stripe) {}

        @Workflow()
        async run(): Promise<number> {
          const { amount } = await this.payments.charge(2);
          return (await this.payments.refund(amount)).amount;
        }
      }
      const nestApp = await start([...providers, PortOrder]);
      expect(await recordedBy(nestApp, PortOrder)).toEqual(BOTH);
    });

    describe('under an alias', () => {
      abstract class Marked {
        @Step()
        async charge(amount: number): Promise<Charge> {
          return { amount };
        }
      }

      @Injectable()
      class Adyen extends Marked {
        @Step()
        async refund(amount: number): Promise<Charge> {
          return { amount: -amount };
        }
      }

      @Injectable()
      class Sale {
        constructor(@Inject(Marked) private readonly payments: Adyen) {}

        @Workflow()
        async run(): Promise<void> {
          const { amount } = await this.payments.charge(1);
          await this.payments.refund(amount);
        }
      }

      const alias: Provider = { provide: Marked, useExisting: Adyen };

      it.each<[string, Provider[]]>([
        ['before', [alias, Adyen]],
        ['after', [Adyen, alias]],
      ])('has the steps of its own class when the alias comes %s it', async (_order, providers) => {
        const nestApp = await start([...providers, Sale]);
        expect(await recordedBy(nestApp, Sale)).toEqual(['Adyen.charge', 'Adyen.refund']);
      });
    });

    it('starts a workflow by the abstract class under which it is provided', async () => {
      abstract class Greeting {
        abstract run(name: string): Promise<string>;
      }
      @Injectable()
      class Formal extends Greeting {
        @Workflow()
        async run(name: string): Promise<string> {
          return `Good day, ${name}`;
        }
      }
      const { workflows } = await start([{ provide: Greeting, useClass: Formal }]);
      const token = Greeting as unknown as Type<Greeting>;
      expect(await workflows.execute(token).run('Ada')).toBe('Good day, Ada');
    });

    it('binds the instances of a transient provider', async () => {
      @Injectable({ scope: Scope.TRANSIENT })
      class Meter {
        @Step()
        async read(): Promise<number> {
          return 1;
        }
      }
      @Injectable()
      class Reading {
        constructor(private readonly meter: Meter) {}

        @Workflow()
        async run(): Promise<number> {
          return this.meter.read();
        }
      }
      const nestApp = await start([Meter, Reading]);
      expect(await recordedBy(nestApp, Reading)).toEqual(['Meter.read']);
    });

    it('calls no getter of an instance', async () => {
      const touched: string[] = [];
      @Injectable()
      class Touchy {
        constructor() {
          Object.defineProperty(this, 'own', {
            enumerable: true,
            get: () => touched.push('own'),
          });
        }

        get dangerous(): number {
          return touched.push('dangerous');
        }

        @Workflow()
        async run(): Promise<void> {
          await this.step();
        }

        @Step()
        async step(): Promise<void> {}
      }
      const nestApp = await start([Touchy, { provide: 'value', useValue: new Touchy() }], {
        dbos: [DbosModule.forRoot({ prisma: PRISMA, ...QUICK })],
      }).catch((error: unknown) => error);
      // Two hosts of one workflow are refused; what counts is that both have been scanned.
      expect(nestApp).toMatchObject({ code: 'DBOS_REGISTRATION' });
      expect(touched).toEqual([]);
    });

    it('leaves values without a prototype, frozen ones and primitives alone', async () => {
      const { workflows } = await start([
        { provide: 'bare', useValue: Object.create(null) as object },
        { provide: 'frozen', useValue: Object.freeze({ a: 1 }) },
        { provide: 'number', useValue: 1 },
        { provide: 'nothing', useValue: null },
        { provide: 'undefined', useFactory: () => undefined },
        { provide: 'function', useValue: () => 1 },
        Payments,
        Checkout,
      ]);
      expect(await workflows.execute(Checkout).run(1)).toEqual({ amount: 1 });
    });
  });

  describe('of class hierarchies', () => {
    abstract class Carrier {
      calls = 0;

      @Step()
      async ship(parcel: string): Promise<string> {
        this.calls += 1;
        return `${this.constructor.name} ships ${parcel}`;
      }
    }

    @Injectable()
    class Train extends Carrier {}

    @Injectable()
    class Truck extends Carrier {
      @Step()
      override async ship(parcel: string): Promise<string> {
        return `quickly: ${await super.ship(parcel)}`;
      }
    }

    @Injectable()
    class Delivery {
      constructor(
        private readonly train: Train,
        private readonly truck: Truck,
      ) {}

      @Workflow()
      async run(): Promise<string[]> {
        return [await this.train.ship('a'), await this.truck.ship('b')];
      }
    }

    it('binds an inherited method under the name of the class that is provided', async () => {
      const nestApp = await start([Train, Truck, Delivery]);
      expect(await recordedBy(nestApp, Delivery)).toEqual(['Train.ship', 'Truck.ship']);
    });

    it('makes a call of the overridden method part of the step that overrides it', async () => {
      const { workflows, app } = await start([Train, Truck, Delivery]);
      expect(await workflows.execute(Delivery).run()).toEqual([
        'Train ships a',
        'quickly: Truck ships b',
      ]);
      expect(app.get(Truck).calls).toBe(1);
    });

    it('binds a class and the class it extends side by side', async () => {
      @Injectable()
      class Base {
        @Workflow()
        async run(): Promise<string> {
          return this.name();
        }

        @Step()
        async name(): Promise<string> {
          return 'base';
        }
      }
      @Injectable()
      class Derived extends Base {
        @Step()
        override async name(): Promise<string> {
          return 'derived';
        }
      }
      const nestApp = await start([Base, Derived]);
      expect(await nestApp.workflows.execute(Base).run()).toBe('base');
      expect(await nestApp.workflows.execute(Derived).run()).toBe('derived');
      expect(await recordedBy(nestApp, Derived)).toEqual(['Derived.name']);
    });
  });

  describe('of request-scoped providers', () => {
    @Injectable({ scope: Scope.REQUEST })
    class Nested {
      @Step()
      async deep(): Promise<string> {
        return 'deep';
      }
    }

    @Injectable({ scope: Scope.REQUEST })
    class PerRun {
      static made = 0;
      readonly number = (PerRun.made += 1);

      constructor(
        readonly nested: Nested,
        @Inject(REQUEST) readonly request: unknown,
      ) {}

      @Step()
      async mark(): Promise<number> {
        return this.number;
      }
    }

    @Injectable()
    class Scoped {
      constructor(private readonly flow: WorkflowContext) {}

      @Workflow()
      async run(): Promise<[number, number]> {
        const first = await this.flow.resolve(PerRun);
        const second = await this.flow.resolve(PerRun);
        return [await first.mark(), await second.mark()];
      }

      @Workflow()
      async deep(): Promise<string> {
        return (await this.flow.resolve(PerRun)).nested.deep();
      }
    }

    it('makes one instance for each run and checkpoints its steps', async () => {
      const nestApp = await start([Nested, PerRun, Scoped]);
      const one = await nestApp.workflows.start(Scoped).run();
      const other = await nestApp.workflows.start(Scoped).run();

      const [first, second] = await one.result();
      const [third] = await other.result();

      expect(second).toBe(first);
      expect(third).not.toBe(first);
      expect(await stepsOf(nestApp, one.workflowId)).toEqual(['PerRun.mark', 'PerRun.mark']);
    });

    it('checkpoints the steps of request-scoped providers that these inject', async () => {
      const nestApp = await start([Nested, PerRun, Scoped]);
      const handle = await nestApp.workflows.start(Scoped).deep();
      expect(await handle.result()).toBe('deep');
      expect(await stepsOf(nestApp, handle.workflowId)).toEqual(['Nested.deep']);
    });

    it('serves requests with request-scoped step providers as without the library', async () => {
      @Controller()
      class Marks {
        constructor(private readonly perRun: PerRun) {}

        @Get()
        async mark(): Promise<{ number: number }> {
          return { number: await this.perRun.mark() };
        }
      }
      const { app } = await start([Nested, PerRun], { controllers: [Marks] });
      const { body } = await request(app.getHttpServer()).get('/').expect(200);
      expect(body).toEqual({ number: PerRun.made });
    });

    it('refuses to resolve outside of a workflow', async () => {
      const { app } = await start([Nested, PerRun, Scoped]);
      await expect(app.get(WorkflowContext).resolve(PerRun)).rejects.toMatchObject({
        code: 'DBOS_NOT_IN_WORKFLOW',
      });
    });
  });

  describe('beside other decorators', () => {
    @Injectable()
    class Timing implements NestInterceptor {
      intercept(_context: ExecutionContext, next: CallHandler): ReturnType<CallHandler['handle']> {
        return next.handle();
      }
    }

    /** As tracing and caching libraries do: puts another function in the place of the method. */
    function Logged(log: string[]): MethodDecorator {
      return (_target, _property, descriptor) => {
        const method = descriptor.value as unknown as (...args: unknown[]) => unknown;
        const logged = function (this: unknown, ...args: unknown[]): unknown {
          log.push('called');
          return Reflect.apply(method, this, args);
        };
        Object.assign(descriptor, { value: logged });
      };
    }

    it('leaves the metadata of others readable on the bound method', async () => {
      @Injectable()
      class Listed {
        @SetMetadata('role', 'clerk')
        @UseInterceptors(Timing)
        @Step()
        async list(): Promise<void> {}

        @SetMetadata('role', 'boss')
        @Workflow()
        async run(): Promise<void> {
          await this.list();
        }
      }
      const { app } = await start([Listed]);
      const listed = app.get(Listed);
      const reflector = app.get(Reflector);

      expect(reflector.get('role', listed.list)).toBe('clerk');
      expect(reflector.get('role', listed.run)).toBe('boss');
      expect(reflector.get(INTERCEPTORS_METADATA, listed.list)).toEqual([Timing]);
    });

    it('keeps the name and the number of parameters of a method', async () => {
      const { app } = await start([Payments, Checkout]);
      const { charge } = app.get(Payments);
      expect([charge.name, charge.length]).toEqual(['charge', 1]);
    });

    it('binds what a decorator below the mark has made of the method', async () => {
      const log: string[] = [];
      @Injectable()
      class Below {
        @Workflow()
        async run(): Promise<void> {
          await this.work();
        }

        @Step()
        @Logged(log)
        async work(): Promise<void> {}
      }
      const nestApp = await start([Below]);
      expect(await recordedBy(nestApp, Below)).toEqual(['Below.work']);
      expect(log).toEqual(['called']);
    });

    it('keeps the mark when a decorator above it replaces the method', async () => {
      const log: string[] = [];
      @Injectable()
      class Above {
        @Workflow()
        async run(): Promise<void> {
          await this.work();
        }

        @Logged(log)
        @Step()
        async work(): Promise<void> {}
      }
      const nestApp = await start([Above]);
      expect(await recordedBy(nestApp, Above)).toEqual(['Above.work']);
      expect(log).toEqual(['called']);
    });
  });

  describe('B68: registration errors are early, typed, and name the class and the cure', () => {
    /** What the application says when it is put together and started. */
    async function refusal(
      providers: Provider[],
      settings: Partial<NestAppSettings> = {},
    ): Promise<{ code: string; message: string }> {
      const boot = async (): Promise<never> => {
        await start(providers, settings);
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
          @(Step() as PropertyDecorator)
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
      ['a class', class PrismaService {}],
      ['a string', 'PrismaService'],
      ['a symbol', Symbol('PrismaService')],
    ])(
      'a prisma token that nobody provides: %s',
      async (_kind, prisma) => {
        expect(await refusal([], { options: { prisma } })).toMatchObject({
          code: 'DBOS_REGISTRATION',
          message: expect.stringMatching(/PrismaService.*providers/s),
        });
      },
      5_000,
    );

    it('a prisma token behind which there is no Prisma client', async () => {
      const given = { provide: 'Wrong', useValue: { findMany: () => [] } };
      const booting = refusal([given], { options: { prisma: 'Wrong' } });
      expect(await booting).toMatchObject({
        code: expect.stringMatching(/^DBOS_/) as unknown as string,
        message: expect.stringMatching(/Wrong/),
      });
    }, 8_000);

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
      const { workflows } = await start([Payments, Checkout], { dbos: [dbos], after: [Feature] });
      expect(await workflows.execute(Checkout).run(1)).toEqual({ amount: 1 });
    });

    it('a registration after the launch', async () => {
      const { app } = await start([Payments, Checkout]);
      const { code, message } = declaring(() =>
        app.get(Engine).register('Late.run', () => undefined),
      );
      expect(code).toBe('DBOS_REGISTRATION');
      expect(message).toMatch(/Late\.run.*before/s);
    });

    it('a start before the application is initialised', async () => {
      const { workflows, app } = await create({ providers: [Payments, Checkout] });
      const starting = async (): Promise<unknown> => workflows.start(Checkout).run(1);
      await expect(starting()).rejects.toMatchObject({
        code: 'DBOS_NOT_RUNNING',
        message: expect.stringMatching(/Checkout\.run.*init/s),
      });
      await app.init();
    });

    it('a start of a method that is no workflow', async () => {
      const { workflows } = await start([Payments, Checkout]);
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
      const { workflows } = await start([]);
      const starting = async (): Promise<unknown> => workflows.start(Forgotten).run();
      await expect(starting()).rejects.toMatchObject({
        code: 'DBOS_WORKFLOW_NOT_REGISTERED',
        message: expect.stringMatching(/Forgotten\.run.*providers/s),
      });
    });
  });
});

interface Held {
  entered: number;
  readonly holds: boolean;
}

/** Charges, then may be held in a second step until its signal is aborted. */
function porter(held: Held): Type<{ run(): Promise<Charge> }> {
  @Injectable()
  class Porter {
    constructor(
      private readonly payments: Payments,
      private readonly flow: WorkflowContext,
    ) {}

    @Workflow()
    async run(): Promise<Charge> {
      const charge = await this.payments.charge(7);
      await this.hold();
      return charge;
    }

    @Step()
    async hold(): Promise<void> {
      held.entered += 1;
      if (!held.holds) return;
      const { signal } = this.flow.stepContext;
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }
  return Porter;
}
