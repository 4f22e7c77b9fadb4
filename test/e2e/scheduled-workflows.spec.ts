// @Scheduled() and ScheduleService in a Nest application, over restarts and deployments of changed code.
import { Injectable, type OnModuleInit, type Provider } from '@nestjs/common';
import {
  DbosModule,
  Scheduled,
  ScheduleService,
  Step,
  Workflow,
  WorkflowContext,
  type DbosModuleOptions,
} from 'nestjs-dbos';
import { eventually } from '../support/eventually.js';
import { COMING_TICK, HALF_PAST, LAST_TICK, runId, tickBefore } from '../support/half-past.js';
import { NestApps, type NestApp } from '../support/nest-app.js';

/** What workflows were given, over all applications. */
const given: unknown[][] = [];

@Injectable()
class Reports {
  @Workflow()
  @Scheduled(HALF_PAST, { name: 'report', backfill: 'all', input: 'EU', queue: undefined })
  async run(tick: Date, region: string): Promise<void> {
    given.push([tick, region]);
  }
}

/** The same workflow in the code of a later deployment, as classes of the same name. */
function deployed(schedule?: MethodDecorator): Provider {
  @Injectable()
  class Report {
    @Workflow({ name: 'Reports.run' })
    @(schedule ?? (() => undefined))
    async run(tick: Date, region: string): Promise<void> {
      given.push([tick, region]);
    }
  }
  return Report;
}

describe('A scheduled workflow', () => {
  let apps: NestApps;

  beforeEach(async () => {
    given.length = 0;
    apps = await NestApps.open();
  });

  afterEach(async () => {
    await apps.endAll();
    await apps.close();
  });

  function start(
    providers: Provider[],
    options: Partial<DbosModuleOptions> = {},
  ): Promise<NestApp> {
    return apps.start(providers, { options });
  }

  function schedules({ app }: NestApp): ScheduleService {
    return app.get(ScheduleService, { strict: false });
  }

  /** As if the time had come while nobody was there. */
  async function setNextTick({ prisma }: NestApp, tick: Date): Promise<void> {
    await prisma.$executeRaw`UPDATE dbos.schedules SET next_tick_at = ${tick}`;
  }

  it('is declared at the launch', async () => {
    const nestApp = await start([Reports]);
    expect(await schedules(nestApp).list()).toEqual([
      expect.objectContaining({
        name: 'report',
        workflow: 'Reports.run',
        cron: HALF_PAST,
        timeZone: 'UTC',
        backfill: 'all',
        input: 'EU',
        declared: true,
        status: 'active',
        nextRuns: [-1, -2, -3, -4, -5].map(tickBefore),
      }),
    ]);
  });

  it('B57: runs with the time of its tick and its input, once for each tick missed by all processes', async () => {
    const first = await start([Reports]);
    await setNextTick(first, tickBefore(2));
    await first.close();

    await Promise.all([start([Reports]), start([Reports])]);

    await eventually(() => expect(given).toHaveLength(3));
    expect(given).toEqual(
      expect.arrayContaining([2, 1, 0].map((hours) => [tickBefore(hours), 'EU'])),
    );
  });

  it('B57: runs once a second over three processes', async () => {
    @Injectable()
    class Pulse {
      @Workflow()
      @Scheduled('* * * * * *')
      async beat(tick: Date): Promise<void> {
        given.push([tick.getTime(), Date.now()]);
      }
    }
    await Promise.all([start([Pulse]), start([Pulse]), start([Pulse])]);

    // One may be run before another that came earlier, which is then still on its way.
    await eventually(() => {
      const ticks = given.map(([tick]) => tick as number).toSorted((a, b) => a - b);
      const first = ticks[0] ?? 0;
      expect(ticks.length).toBeGreaterThanOrEqual(4);
      expect(ticks).toEqual(ticks.map((_, index) => first + index * 1_000));
    });
    for (const [tick, ranAt] of given) expect(ranAt).toBeGreaterThanOrEqual(tick as number);
  });

  it('may have several schedules, and be named after its method', async () => {
    @Injectable()
    class Shop {
      @Scheduled('0 9 * * SAT', { name: 'weekend' })
      @Workflow({ name: 'shop-opening' })
      @Scheduled('0 7 * * MON-FRI', { timeZone: 'Europe/Berlin' })
      async open(): Promise<void> {}
    }
    const nestApp = await start([Shop]);
    const found = await schedules(nestApp).list();
    expect(found.map(({ name, workflow, cron }) => [name, workflow, cron])).toEqual([
      ['Shop.open', 'shop-opening', '0 7 * * MON-FRI'],
      ['weekend', 'shop-opening', '0 9 * * SAT'],
    ]);
  });

  describe('whose code is deployed again', () => {
    it('keeps its pause when it is unchanged', async () => {
      const before = await start([Reports]);
      await schedules(before).pause('report');
      await before.close();

      const after = await start([Reports]);

      expect(await schedules(after).get('report')).toMatchObject({ status: 'paused' });
    });

    it('keeps its ticks when it is unchanged, and the row is not even touched', async () => {
      const before = await start([Reports]);
      await setNextTick(before, tickBefore(-9));
      const [row] = await before.prisma.$queryRaw<unknown[]>`SELECT xmin::text FROM dbos.schedules`;
      await before.close();

      const after = await start([Reports]);

      expect(await after.prisma.$queryRaw`SELECT xmin::text FROM dbos.schedules`).toEqual([row]);
      expect(await schedules(after).get('report')).toMatchObject({
        nextRuns: expect.arrayContaining([tickBefore(-9)]),
      });
    });

    it('with another timetable begins with the first tick to come', async () => {
      const before = await start([Reports]);
      await setNextTick(before, tickBefore(-9));
      await before.close();

      const changed = Scheduled('0 0 1 1 *', { name: 'report', input: 'EU' }) as MethodDecorator;
      const after = await start([deployed(changed)]);

      const found = await schedules(after).get('report');
      expect(found).toMatchObject({ cron: '0 0 1 1 *', backfill: 'skip', status: 'active' });
      expect(found?.nextRuns[0]?.toISOString()).toMatch(/-01-01T00:00:00.000Z$/);
    });

    it('with another timetable stays paused', async () => {
      const before = await start([Reports]);
      await schedules(before).pause('report');
      await before.close();

      const after = await start([
        deployed(Scheduled('0 0 1 1 *', { name: 'report' }) as MethodDecorator),
      ]);

      expect(await schedules(after).get('report')).toMatchObject({
        cron: '0 0 1 1 *',
        status: 'paused',
        nextRuns: [],
      });
    });

    it('with another input keeps its ticks, and its pause', async () => {
      const before = await start([Reports]);
      await setNextTick(before, tickBefore(-9));
      await before.close();
      const changed = Scheduled(HALF_PAST, {
        name: 'report',
        backfill: 'all',
        input: 'US',
        timeout: '1h',
      });

      const after = await start([deployed(changed as MethodDecorator)]);

      expect(await schedules(after).get('report')).toMatchObject({
        input: 'US',
        timeoutMs: 3_600_000,
        nextRuns: expect.arrayContaining([tickBefore(-9)]),
      });
    });

    it('without the schedule rests, and is there again when it is declared again', async () => {
      await (await start([Reports])).close();
      const without = await start([deployed()]);
      expect(await schedules(without).get('report')).toMatchObject({
        status: 'retired',
        declared: true,
        nextRuns: [],
      });
      await expect(schedules(without).resume('report')).rejects.toMatchObject({
        code: 'DBOS_INVALID_ARGUMENT',
        message: expect.stringContaining('declares it no more'),
      });

      const again = await start([Reports]);
      expect(await schedules(again).get('report')).toMatchObject({
        status: 'active',
        nextRuns: expect.arrayContaining([COMING_TICK]),
      });
    });

    it('without the schedule can have it deleted', async () => {
      await (await start([Reports])).close();
      const without = await start([deployed()]);
      expect(await schedules(without).delete('report')).toBe(true);
    });

    it('without the workflow keeps the schedule for those who have it', async () => {
      await (await start([Reports])).close();
      const other = await start([]);
      expect(await schedules(other).get('report')).toMatchObject({ status: 'active' });
    });

    it('takes over a schedule that was made at run time under its name', async () => {
      const without = await start([deployed()]);
      await schedules(without).create({
        name: 'report',
        workflow: 'Reports.run',
        cron: HALF_PAST,
        backfill: 'all',
        input: 'EU',
      });
      await schedules(without).pause('report');

      const nestApp = await start([Reports]);

      expect(await schedules(nestApp).get('report')).toMatchObject({
        declared: true,
        status: 'paused',
        nextRuns: [],
      });
    });
  });

  describe('at run time', () => {
    it('can be paused, resumed and triggered', async () => {
      const nestApp = await start([Reports]);
      await schedules(nestApp).pause('report');
      const handle = await schedules(nestApp).trigger<void>('report');
      await handle.result();
      expect(given).toEqual([[expect.any(Date), 'EU']]);
      await schedules(nestApp).resume('report');
      expect(await schedules(nestApp).get('report')).toMatchObject({ status: 'active' });
    });

    it('can be made up for', async () => {
      const nestApp = await start([Reports]);
      expect(await schedules(nestApp).backfill('report', tickBefore(1), LAST_TICK)).toEqual([
        runId('report', tickBefore(1)),
      ]);
      await eventually(() => expect(given).toEqual([[tickBefore(1), 'EU']]));
    });

    it.each([
      ['updated', (service: ScheduleService) => service.update('report', { cron: '@daily' })],
      ['deleted', (service: ScheduleService) => service.delete('report')],
    ])('cannot be %s: the next launch would undo it', async (_what, change) => {
      const nestApp = await start([Reports]);
      await expect(change(schedules(nestApp))).rejects.toMatchObject({
        code: 'DBOS_INVALID_ARGUMENT',
        message: expect.stringMatching(/"report".*@Scheduled\(\) on Reports\.run/),
      });
    });

    it('leaves its name to no other', async () => {
      const nestApp = await start([Reports]);
      const other = { name: 'report', workflow: Reports, cron: '@daily' };
      const exists = { code: 'DBOS_SCHEDULE_EXISTS' };
      await expect(schedules(nestApp).create(other)).rejects.toMatchObject(exists);
      await expect(schedules(nestApp).applySet('set', [other])).rejects.toMatchObject(exists);
    });
  });

  describe('made with ScheduleService', () => {
    it('is named by its class, or by the name of the workflow', async () => {
      const nestApp = await start([Reports]);
      await schedules(nestApp).create({ name: 'by class', workflow: Reports, cron: '@daily' });
      await schedules(nestApp).create({ name: 'by name', workflow: 'Reports.run', cron: '@daily' });
      await schedules(nestApp).update('by name', { workflow: Reports, cron: '@weekly' });

      const found = await schedules(nestApp).list({ after: 'b', limit: 2 });
      expect(found.map(({ name, workflow }) => [name, workflow])).toEqual([
        ['by class', 'Reports.run'],
        ['by name', 'Reports.run'],
      ]);
    });

    it('is refused for a class without a workflow, and for one with several', async () => {
      @Injectable()
      class Both {
        @Workflow()
        async one(): Promise<void> {}

        @Workflow({ name: 'second' })
        async two(): Promise<void> {}
      }
      class Nothing {
        readonly label = 'nothing';
      }
      const nestApp = await start([Both]);
      const create = (workflow: new () => object): Promise<void> =>
        schedules(nestApp).create({ name: 'x', workflow, cron: '@daily' });

      await expect(create(Both)).rejects.toMatchObject({
        code: 'DBOS_REGISTRATION',
        message: expect.stringMatching(/Both has several.*'Both\.one', 'second'/),
      });
      await expect(create(Nothing)).rejects.toMatchObject({
        code: 'DBOS_REGISTRATION',
        message: expect.stringMatching(/Nothing.*@Workflow\(\)/),
      });
    });

    it('in a workflow is recorded like its steps', async () => {
      @Injectable()
      class Onboarding {
        constructor(
          private readonly schedule: ScheduleService,
          private readonly flow: WorkflowContext,
        ) {}

        @Workflow()
        async run(): Promise<string> {
          await this.flow.step('tenant', () => 1);
          await this.schedule.create({ name: 'tenant', workflow: 'Reports.run', cron: '@daily' });
          const handle = await this.schedule.trigger('tenant');
          return handle.workflowId;
        }
      }
      const { workflows } = await start([Reports, Onboarding]);
      const handle = await workflows.start(Onboarding).run();

      expect(await handle.result()).toMatch(/^sched-tenant-[0-9a-f]{32}$/);
      expect((await workflows.steps(handle.workflowId)).map(({ name }) => name)).toEqual([
        'tenant',
        'schedules.create',
        'schedules.trigger',
      ]);
    });

    it('cannot be used before the application has bootstrapped', async () => {
      @Injectable()
      class Hasty implements OnModuleInit {
        error: unknown;

        constructor(private readonly schedule: ScheduleService) {}

        async onModuleInit(): Promise<void> {
          this.error = await this.schedule.list().catch((error: unknown) => error);
        }
      }
      const { app } = await start([Hasty]);
      expect(app.get(Hasty).error).toMatchObject({
        code: 'DBOS_NOT_RUNNING',
        message: expect.stringContaining('after the bootstrap'),
      });
    });
  });

  describe('is refused', () => {
    /** What happens while the class is being declared. */
    function declaring(declare: () => unknown): unknown {
      try {
        declare();
      } catch (error) {
        return error;
      }
      throw new Error('The class was accepted.');
    }

    async function refusal(providers: Provider[]): Promise<unknown> {
      return start(providers).then(
        () => Promise.reject(new Error('The application started.')),
        (error: unknown) => error,
      );
    }

    it('for a method that is no workflow', async () => {
      @Injectable()
      class Cleanup {
        @Scheduled('@daily')
        async sweep(): Promise<void> {}
      }
      expect(await refusal([Cleanup])).toMatchObject({
        code: 'DBOS_REGISTRATION',
        message: expect.stringMatching(/Cleanup\.sweep.*@Workflow\(\)/),
      });
    });

    it('for a step', async () => {
      @Injectable()
      class Cleanup {
        @Step()
        @Scheduled('@daily')
        async sweep(): Promise<void> {}
      }
      expect(await refusal([Cleanup])).toMatchObject({
        code: 'DBOS_REGISTRATION',
        message: expect.stringMatching(/Cleanup\.sweep.*@Workflow\(\)/),
      });
    });

    it('for a name that two have', async () => {
      @Injectable()
      class Twice {
        @Workflow()
        @Scheduled('@daily')
        @Scheduled('@weekly')
        async run(): Promise<void> {}
      }
      expect(await refusal([Twice])).toMatchObject({
        code: 'DBOS_REGISTRATION',
        message: expect.stringMatching(/Twice\.run.*"Twice\.run".*another name/),
      });
    });

    it.each([
      ['a cron expression', ['0 25 * * *'], 'DBOS_INVALID_SCHEDULE'],
      ['a time zone', ['@daily', { timeZone: 'Mars/Base' }], 'DBOS_INVALID_SCHEDULE'],
      ['a policy', ['@daily', { backfill: 'some' as 'all' }], 'DBOS_INVALID_ARGUMENT'],
      ['a name', ['@daily', { name: '' }], 'DBOS_INVALID_ARGUMENT'],
      ['a queue', ['@daily', { queue: '' }], 'DBOS_INVALID_ARGUMENT'],
    ] as const)(
      'where it is written, for %s that cannot be used',
      (_what, [cron, options], code) => {
        const error = declaring(() => {
          class Wrong {
            @Workflow()
            @Scheduled(cron, options)
            async run(): Promise<void> {}
          }
          return Wrong;
        });
        expect(error).toMatchObject({ code });
      },
    );

    it('on a static method', () => {
      const error = declaring(() => {
        class Tools {
          readonly label = 'tools';

          @Scheduled('@daily')
          static async run(): Promise<void> {}
        }
        return Tools;
      });
      expect(error).toMatchObject({
        code: 'DBOS_REGISTRATION',
        message: expect.stringContaining('@Scheduled() on static Tools.run'),
      });
    });

    it.each([
      ['that is not registered', [], 'DBOS_UNKNOWN_QUEUE'],
      [
        'that is partitioned',
        [DbosModule.registerQueue({ name: 'sweeps', partition: { concurrency: 1 } })],
        'DBOS_INVALID_ARGUMENT',
      ],
    ])('on a queue %s', async (_what, before, code) => {
      @Injectable()
      class Cleanup {
        @Workflow()
        @Scheduled('@daily', { queue: 'sweeps' })
        async sweep(): Promise<void> {}
      }
      const refused = apps.start([Cleanup], { before });
      await expect(refused).rejects.toMatchObject({
        code,
        message: expect.stringContaining('"sweeps"'),
      });
    });

    it('with an input that cannot be kept', async () => {
      @Injectable()
      class Wrong {
        @Workflow()
        @Scheduled('@daily', { input: () => 1 })
        async run(): Promise<void> {}
      }
      expect(await refusal([Wrong])).toMatchObject({
        code: 'DBOS_UNSERIALIZABLE_VALUE',
        message: expect.stringContaining('input of schedule "Wrong.run"'),
      });
    });
  });
});
