// Every way in which Nest can provide an instance ends with its steps bound, under one name.
import { Inject, Injectable, Scope, type Provider, type Type } from '@nestjs/common';
import { DbosModule, Step, Workflow, WorkflowContext } from 'nestjs-dbos';
import { Checkout, Payments, type Charge } from '../support/checkout.js';
import { NestApps, QUICK, recordedBy } from '../support/nest-app.js';
import { PRISMA } from '../support/test-app.js';

describe('The binding', () => {
  let apps: NestApps;

  beforeAll(async () => {
    apps = await NestApps.open();
  });

  afterEach(() => apps.endAll());

  afterAll(() => apps.close());

  describe('of every kind of provider', () => {
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
      const nestApp = await apps.start([...providers, Order]);
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
      const nestApp = await apps.start([...providers, PortOrder]);
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
        const nestApp = await apps.start([...providers, Sale]);
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
      const { workflows } = await apps.start([{ provide: Greeting, useClass: Formal }]);
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
      const nestApp = await apps.start([Meter, Reading]);
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
      const nestApp = await apps
        .start([Touchy, { provide: 'value', useValue: new Touchy() }], {
          dbos: [DbosModule.forRoot({ prisma: PRISMA, ...QUICK })],
        })
        .catch((error: unknown) => error);
      // Two hosts of one workflow are refused; what counts is that both have been scanned.
      expect(nestApp).toMatchObject({ code: 'DBOS_REGISTRATION' });
      expect(touched).toEqual([]);
    });

    it('leaves values without a prototype, frozen ones and primitives alone', async () => {
      const { workflows } = await apps.start([
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
      const nestApp = await apps.start([Train, Truck, Delivery]);
      expect(await recordedBy(nestApp, Delivery)).toEqual(['Train.ship', 'Truck.ship']);
    });

    it('makes a call of the overridden method part of the step that overrides it', async () => {
      const { workflows, app } = await apps.start([Train, Truck, Delivery]);
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
      const nestApp = await apps.start([Base, Derived]);
      expect(await nestApp.workflows.execute(Base).run()).toBe('base');
      expect(await nestApp.workflows.execute(Derived).run()).toBe('derived');
      expect(await recordedBy(nestApp, Derived)).toEqual(['Derived.name']);
    });
  });
});
