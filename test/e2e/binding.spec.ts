// How marked methods of the application’s own providers become steps and workflows.
import {
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  SetMetadata,
  UseInterceptors,
  type Type,
} from '@nestjs/common';
import { INTERCEPTORS_METADATA } from '@nestjs/common/constants.js';
import { Reflector } from '@nestjs/core';
import { jest } from '@jest/globals';
import { Step, Workflow, WorkflowContext } from 'nestjs-dbos';
import { Checkout, Payments, type Charge } from '../support/checkout.js';
import { eventually } from '../support/eventually.js';
import { NestApps, recordedBy, stepNames, type NestAppSettings } from '../support/nest-app.js';
import { startTestApp } from '../support/test-app.js';

describe('The binding', () => {
  let apps: NestApps;

  beforeAll(async () => {
    apps = await NestApps.open();
  });

  afterEach(() => apps.endAll());

  afterAll(() => apps.close());

  describe('of injected classes', () => {
    it('B23: runs steps on the singleton of the container', async () => {
      const nestApp = await apps.start([Payments, Checkout]);
      await nestApp.workflows.execute(Checkout).run(3);
      expect(nestApp.app.get(Payments).calls).toBe(1);
      expect(nestApp.app.get(Checkout).payments).toBe(nestApp.app.get(Payments));
    });

    it('B23: replays on the singletons of a fresh application', async () => {
      const held = { entered: 0, holds: true };
      const holding = porter(held);
      const dying = await startTestApp({ url: apps.url, providers: [Payments, holding] });
      await dying.workflows.start(holding, { workflowId: 'B23 replay' }).run();
      await eventually(() => expect(held.entered).toBe(1));
      await dying.kill();

      const passing = porter({ entered: 0, holds: false });
      const nestApp = await apps.start([Payments, passing]);

      expect(await nestApp.workflows.handle('B23 replay').result()).toEqual({ amount: 7 });
      expect(nestApp.app.get(Payments).calls).toBe(0);
      expect(await stepNames(nestApp, 'B23 replay')).toEqual(['Payments.charge', 'Porter.hold']);
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
      const nestApp = await apps.start([Self]);
      expect(await recordedBy(nestApp, Self)).toEqual(['Self.own']);
    });

    it('B23: leaves a class that is made without the container a plain class', async () => {
      await apps.start([Payments, Checkout]);
      const payments = new Payments();

      expect(await new Checkout(payments).run(5)).toEqual({ amount: 5 });

      expect(payments.calls).toBe(1);
      expect(Object.hasOwn(payments, 'charge')).toBe(false);
    });

    it('calls a step outside of a workflow as an ordinary method', async () => {
      const { app } = await apps.start([Payments, Checkout]);
      expect(await app.get(Payments).charge(9)).toEqual({ amount: 9 });
    });

    it('starts a workflow when its method is called', async () => {
      const nestApp = await apps.start([Payments, Checkout]);
      expect(await nestApp.app.get(Checkout).run(4)).toEqual({ amount: 4 });
      expect(
        await nestApp.prisma.$queryRaw`
        SELECT count(*)::int AS count FROM dbos.workflows WHERE name = 'Checkout.run' AND input LIKE '%4%'`,
      ).toEqual([{ count: 1 }]);
    });

    it('gives every instance its own methods back when the application closes', async () => {
      const payments = new Payments();
      const nestApp = await apps.start([{ provide: Payments, useValue: payments }, Checkout]);
      expect(Object.hasOwn(payments, 'charge')).toBe(true);
      await nestApp.app.close();
      expect(Object.hasOwn(payments, 'charge')).toBe(false);
    });
  });

  describe('of mocks', () => {
    it('checkpoints the mocked method of a provider that a test overrides', async () => {
      const charge = jest.fn<Payments['charge']>().mockResolvedValue({ amount: 1 });
      const nestApp = await apps.start([Payments, Checkout], {
        override: (testing) => testing.overrideProvider(Payments).useValue({ charge }),
      });

      const handle = await nestApp.workflows.start(Checkout).run(2);

      expect(await handle.result()).toEqual({ amount: 1 });
      expect(await stepNames(nestApp, handle.workflowId)).toEqual(['Payments.charge']);
    });

    /** As a test writes it: like the real one, but for what costs money. */
    class FakePayments extends Payments {
      override async charge(amount: number): Promise<Charge> {
        return { amount: -amount };
      }
    }

    /** Has nothing in common with the real one but the names of its methods. */
    class StubPayments {
      async charge(amount: number): Promise<Charge> {
        return { amount: -amount };
      }
    }

    it.each<[string, NonNullable<NestAppSettings['override']>]>([
      ['useClass of a stub', (t) => t.overrideProvider(Payments).useClass(StubPayments)],
      ['useClass of a subclass', (t) => t.overrideProvider(Payments).useClass(FakePayments)],
      ['useValue of a stub', (t) => t.overrideProvider(Payments).useValue(new StubPayments())],
      ['useValue of a subclass', (t) => t.overrideProvider(Payments).useValue(new FakePayments())],
      [
        'useFactory of a stub',
        (t) => t.overrideProvider(Payments).useFactory({ factory: () => new StubPayments() }),
      ],
    ])('keeps the steps of a provider that a test overrides with %s', async (_way, override) => {
      const nestApp = await apps.start([Payments, Checkout], { override });
      const handle = await nestApp.workflows.start(Checkout).run(2);
      expect(await handle.result()).toEqual({ amount: -2 });
      expect(await stepNames(nestApp, handle.workflowId)).toEqual(['Payments.charge']);
    });

    it('leaves a mock a mock: asked by the test and by the container', async () => {
      const charge = jest.fn<Payments['charge']>().mockResolvedValue({ amount: 1 });
      const nestApp = await apps.start([Payments, Checkout], {
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
      const nestApp = await apps.start([Payments, Checkout]);
      const spy = jest.spyOn(nestApp.app.get(Payments), 'charge');
      const handle = await nestApp.workflows.start(Checkout).run(2);
      await handle.result();
      expect(spy).toHaveBeenCalledWith(2);
      expect(await stepNames(nestApp, handle.workflowId)).toEqual(['Payments.charge']);
    });

    it('accepts a mock that leaves marked methods out', async () => {
      const nestApp = await apps.start([Payments, Checkout], {
        override: (testing) => testing.overrideProvider(Payments).useValue({}),
      });
      await expect(nestApp.workflows.execute(Checkout).run(2)).rejects.toThrow(
        /charge is not a function/,
      );
    });

    it('accepts a mock that answers to everything', async () => {
      /** As mocking libraries make them: every property is a function with every property. */
      const answersToAll = <T extends object>(target: T): T =>
        new Proxy(target, {
          get: (_target, key): unknown => {
            if (key === 'then') return undefined; // or every await would call it
            const known: unknown = Reflect.get(target, key);
            if (known !== undefined) return known;
            const made = answersToAll(() => Promise.resolve({ amount: 42 }));
            Reflect.set(target, key, made);
            return made;
          },
        });
      const nestApp = await apps.start([Payments, Checkout], {
        override: (testing) => testing.overrideProvider(Checkout).useValue(answersToAll({})),
      });
      expect(await nestApp.workflows.execute(Checkout).run(1)).toEqual({ amount: 42 });
    });

    it('runs the mocked method of a workflow class', async () => {
      const nestApp = await apps.start([Payments, Checkout], {
        override: (testing) =>
          testing.overrideProvider(Checkout).useValue({ run: async () => ({ amount: 42 }) }),
      });
      expect(await nestApp.workflows.execute(Checkout).run(1)).toEqual({ amount: 42 });
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
      const { app } = await apps.start([Listed]);
      const listed = app.get(Listed);
      const reflector = app.get(Reflector);

      expect(reflector.get('role', listed.list)).toBe('clerk');
      expect(reflector.get('role', listed.run)).toBe('boss');
      expect(reflector.get(INTERCEPTORS_METADATA, listed.list)).toEqual([Timing]);
    });

    it('keeps the name and the number of parameters of a method', async () => {
      const { app } = await apps.start([Payments, Checkout]);
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
      const nestApp = await apps.start([Below]);
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
      const nestApp = await apps.start([Above]);
      expect(await recordedBy(nestApp, Above)).toEqual(['Above.work']);
      expect(log).toEqual(['called']);
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
