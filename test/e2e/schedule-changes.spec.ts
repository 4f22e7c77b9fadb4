// Schedules at run time: made, changed, paused, triggered, made up for, applied as a set, listed and deleted.
import type { Engine } from '../../libs/dbos/src/engine/engine.js';
import type { ScheduleSpec } from '../../libs/dbos/src/engine/schedule-definition.js';
import { eventually } from '../support/eventually.js';
import { COMING_TICK, HALF_PAST, LAST_TICK, runId, tickBefore } from '../support/half-past.js';
import {
  LONG_TRANSACTION,
  PARTITIONED,
  QUEUE,
  REPORT,
  useScheduleEngines,
  type ScheduleEngine,
} from '../support/schedule-engines.js';

const engines = useScheduleEngines();

function spec(settings: Partial<ScheduleSpec> = {}): ScheduleSpec {
  return { name: 'hourly', workflow: REPORT, cron: HALF_PAST, ...settings };
}

async function startWith(settings: Partial<ScheduleSpec> = {}): Promise<ScheduleEngine> {
  const one = await engines.start();
  await one.engine.schedules.create(spec(settings));
  return one;
}

/** What stands in the row that no report shows. */
async function row(name = 'hourly'): Promise<{ next: Date | null; revision: number } | undefined> {
  const rows = await engines.prisma.$queryRaw<Array<{ next: Date | null; revision: number }>>`
    SELECT next_tick_at AS next, revision FROM dbos.schedules WHERE name = ${name}`;
  return rows[0];
}

describe('A schedule is created', () => {
  it('with its defaults, and begins with the first tick to come', async () => {
    const { engine } = await startWith({ input: ['EU'] });

    expect(await engine.schedules.get('hourly')).toEqual({
      name: 'hourly',
      workflow: REPORT,
      cron: HALF_PAST,
      timeZone: 'UTC',
      backfill: 'skip',
      queue: null,
      input: ['EU'],
      timeoutMs: null,
      status: 'active',
      declared: false,
      set: null,
      lastTickAt: null,
      nextRuns: [-1, -2, -3, -4, -5].map(tickBefore),
      createdAt: expect.any(Date),
      updatedAt: expect.any(Date),
    });
  });

  it('by the clock of the database, however wrong that of the host', async () => {
    const behind = await engines.start({ skewMs: -86_400_000 });
    await behind.engine.schedules.create(spec());
    expect((await row())?.next).toEqual(COMING_TICK);
  });

  it('once: again with the same settings it is left as it is', async () => {
    const one = await startWith({ input: { a: 1 } });
    await engines.setNextTick('hourly', LAST_TICK);

    await one.engine.schedules.create(spec({ input: { a: 1 }, timeZone: 'UTC' }));

    expect(await row()).toEqual({ next: LAST_TICK, revision: 1 });
  });

  it('although the answer of the database is lost', async () => {
    const one = await engines.start();
    one.faults.loseAnswerOfNext('INSERT INTO dbos.schedules');
    await one.engine.schedules.create(spec());
    expect(await row()).toMatchObject({ revision: 1 });
  });

  it.each([
    ['another expression', { cron: '0 0 * * *' }],
    ['another time zone', { timeZone: 'Europe/Berlin' }],
    ['another policy', { backfill: 'all' }],
    ['a queue', { queue: QUEUE }],
    ['an input', { input: 1 }],
  ] as const)('under a name that is free; there is one with %s', async (_what, settings) => {
    const one = await startWith();
    await expect(one.engine.schedules.create(spec(settings))).rejects.toMatchObject({
      code: 'DBOS_SCHEDULE_EXISTS',
      scheduleName: 'hourly',
      message: expect.stringMatching(/"hourly".*with other settings/),
    });
    expect(await row()).toMatchObject({ revision: 1 });
  });

  it.each([
    [
      'an expression',
      { cron: '0 25 * * *' },
      'DBOS_INVALID_SCHEDULE',
      /character 3 is no valid hour/,
    ],
    ['a time zone', { timeZone: 'Mars/Base' }, 'DBOS_INVALID_SCHEDULE', /IANA/],
    ['a policy', { backfill: 'some' as 'all' }, 'DBOS_INVALID_ARGUMENT', /'skip'/],
    ['a name', { name: '' }, 'DBOS_INVALID_ARGUMENT', /empty/],
    ['a long name', { name: 'x'.repeat(201) }, 'DBOS_INVALID_ARGUMENT', /at most 200/],
    ['a queue', { queue: '' }, 'DBOS_INVALID_ARGUMENT', /queue/],
    ['a registered queue', { queue: 'nowhere' }, 'DBOS_UNKNOWN_QUEUE', /nowhere/],
    ['a whole queue', { queue: PARTITIONED }, 'DBOS_INVALID_ARGUMENT', /partitioned/],
    ['a workflow', { workflow: 'Nobody' }, 'DBOS_WORKFLOW_NOT_REGISTERED', /Nobody/],
    ['a timeout', { timeout: 0 }, 'DBOS_INVALID_ARGUMENT', /timeout must be above 0/],
    ['an input', { input: () => 1 }, 'DBOS_UNSERIALIZABLE_VALUE', /input of schedule "hourly"/],
  ] as const)('only with %s that can be used', async (_what, settings, code, message) => {
    const { engine } = await engines.start();
    await expect(engine.schedules.create(spec(settings))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
    expect(await engine.schedules.list()).toEqual([]);
  });

  it('under a name so long that its ids are as long as ids may be', async () => {
    const name = 'x'.repeat(200);
    const one = await startWith({ name, backfill: 'all' });
    await engines.setNextTick(name, LAST_TICK);
    await one.look();
    const id = await one.engine.schedules.trigger(name);

    await expect(one.engine.handle(id).status()).resolves.toMatchObject({ status: 'ENQUEUED' });
    await expect(one.engine.handle(runId(name, LAST_TICK)).status()).resolves.toMatchObject({
      status: 'ENQUEUED',
    });
  });
});

describe('B57: a schedule that is paused', () => {
  it('is not fired, and has no next run', async () => {
    const one = await startWith({ backfill: 'all' });
    await engines.setNextTick('hourly', LAST_TICK);

    await one.engine.schedules.pause('hourly');

    expect(await one.look()).toBe(30_000);
    expect(await engines.runs()).toEqual([]);
    expect(await one.engine.schedules.get('hourly')).toMatchObject({
      status: 'paused',
      nextRuns: [],
    });
  });

  it('goes on with the first tick to come, and makes up for none of the pause', async () => {
    const one = await startWith({ backfill: 'all' });
    await engines.setNextTick('hourly', LAST_TICK);
    await one.engine.schedules.pause('hourly');

    await one.engine.schedules.resume('hourly');

    expect((await row())?.next).toEqual(COMING_TICK);
    expect(await one.look()).toBe(30_000);
    expect(await engines.runs()).toEqual([]);
  });

  it('stays paused when it is changed, and goes on by its new timetable', async () => {
    const one = await startWith();
    await one.engine.schedules.pause('hourly');
    await one.engine.schedules.update('hourly', { cron: '0 0 1 1 *' });
    expect((await row())?.next).toBeNull();

    await one.engine.schedules.resume('hourly');
    expect((await row())?.next?.toISOString()).toMatch(/-01-01T00:00:00.000Z$/);
  });

  it('is resumed by its timetable as it stands then', async () => {
    const one = await startWith();
    await one.engine.schedules.pause('hourly');
    const gate = one.gates.hold('SET paused = false', 'unsent');
    const resumed = one.engine.schedules.resume('hourly');
    await gate.reached;
    await one.engine.schedules.update('hourly', { cron: '0 0 1 1 *' });

    gate.open();
    await resumed;

    expect((await row())?.next?.toISOString()).toMatch(/-01-01T00:00:00.000Z$/);
  });

  it('and resumed once is not moved by being resumed again', async () => {
    const one = await startWith();
    await engines.setNextTick('hourly', LAST_TICK);
    await one.engine.schedules.resume('hourly');
    expect((await row())?.next).toEqual(LAST_TICK);
  });
});

describe('B57: a schedule that is updated', () => {
  it('has its new timetable from now on', async () => {
    const one = await startWith({ backfill: 'all' });
    await engines.setNextTick('hourly', LAST_TICK);

    await one.engine.schedules.update('hourly', { cron: '0 0 1 1 *', timeZone: 'Europe/Berlin' });

    const found = await one.engine.schedules.get('hourly');
    expect(found?.nextRuns[0]?.toISOString()).toMatch(/-12-31T23:00:00.000Z$/);
    await one.look();
    expect(await engines.runs()).toEqual([]);
  });

  it('keeps its ticks when only something else changes', async () => {
    const one = await startWith({ input: 'old', queue: QUEUE });
    await engines.setNextTick('hourly', LAST_TICK);

    await one.engine.schedules.update('hourly', { input: 'new', backfill: 'all', queue: null });

    expect(await row()).toEqual({ next: LAST_TICK, revision: 2 });
    expect(await one.engine.schedules.get('hourly')).toMatchObject({
      input: 'new',
      backfill: 'all',
      queue: null,
      cron: HALF_PAST,
    });
  });

  it('keeps what is left out, and loses an input that is set to nothing', async () => {
    const one = await startWith({ input: 'old', queue: QUEUE, backfill: 'latest' });
    await one.engine.schedules.update('hourly', { cron: undefined, queue: undefined });
    expect(await one.engine.schedules.get('hourly')).toMatchObject({
      input: 'old',
      queue: QUEUE,
      backfill: 'latest',
    });

    await one.engine.schedules.update('hourly', { input: undefined });
    expect((await one.engine.schedules.get('hourly'))?.input).toBeUndefined();
  });

  it('has another timeout, keeps it where it is left out, and loses it to null', async () => {
    const one = await startWith({ timeout: '1h' });
    const timeoutAfter = async (changes: Parameters<typeof one.engine.schedules.update>[1]) => {
      await one.engine.schedules.update('hourly', changes);
      return (await one.engine.schedules.get('hourly'))?.timeoutMs;
    };
    expect(await timeoutAfter({ input: 1 })).toBe(3_600_000);
    expect(await timeoutAfter({ timeout: 5 })).toBe(5);
    expect(await timeoutAfter({ timeout: null })).toBeNull();
    await expect(timeoutAfter({ timeout: -1 })).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
  });

  it('by two at the same time has both changes', async () => {
    const one = await startWith();
    const gate = one.gates.hold('UPDATE dbos.schedules', 'unsent');
    const first = one.engine.schedules.update('hourly', { queue: QUEUE });
    await gate.reached;
    await one.engine.schedules.update('hourly', { cron: '0 0 1 1 *' });

    gate.open();
    await first;

    expect(await one.engine.schedules.get('hourly')).toMatchObject({
      queue: QUEUE,
      cron: '0 0 1 1 *',
    });
  });

  it('while others do nothing else gives up, and says so', async () => {
    const one = await startWith();
    one.gates.onEach(async (sql, _values, moment) => {
      if (moment !== 'unsent' || !sql.includes('UPDATE dbos.schedules')) return;
      await engines.prisma.$executeRaw`UPDATE dbos.schedules SET revision = revision + 1`;
    });

    await expect(one.engine.schedules.update('hourly', { input: 1 })).rejects.toMatchObject({
      code: 'DBOS_SCHEDULE_CHANGED',
      message: expect.stringMatching(/"hourly".*Try again/),
    });
    expect((await one.engine.schedules.get('hourly'))?.input).toBeUndefined();
  });

  it.each([
    ['an expression', { cron: '* * *' }, 'DBOS_INVALID_SCHEDULE'],
    ['a time zone', { timeZone: '' }, 'DBOS_INVALID_SCHEDULE'],
    ['a policy', { backfill: 'some' as 'all' }, 'DBOS_INVALID_ARGUMENT'],
    ['a queue', { queue: 'nowhere' }, 'DBOS_UNKNOWN_QUEUE'],
    ['no name of a queue', { queue: '\n' }, 'DBOS_INVALID_ARGUMENT'],
    ['part of a queue', { queue: PARTITIONED }, 'DBOS_INVALID_ARGUMENT'],
    ['a workflow', { workflow: 'Nobody' }, 'DBOS_WORKFLOW_NOT_REGISTERED'],
  ] as const)('to %s that cannot be used is left as it is', async (_what, changes, code) => {
    const one = await startWith();
    await expect(one.engine.schedules.update('hourly', changes)).rejects.toMatchObject({ code });
    expect(await row()).toMatchObject({ revision: 1 });
  });
});

describe('B57: a schedule that is triggered', () => {
  it('starts its workflow now, under an id of its own, and stays as it is', async () => {
    const one = await engines.start({ admitted: true });
    await one.engine.schedules.create(spec({ input: 'EU' }));
    await one.engine.schedules.pause('hourly');
    const before = await row();

    const ids = [
      await one.engine.schedules.trigger('hourly'),
      await one.engine.schedules.trigger('hourly'),
    ];
    await Promise.all(ids.map((id) => one.engine.handle(id).result()));

    expect(await engines.runs()).toEqual(ids.toSorted());
    expect(ids[0]).toMatch(/^sched-hourly-[0-9a-f-]{36}$/);
    const [tick, input] = one.reports[0] as [Date, string];
    expect(Math.abs(tick.getTime() - Date.now())).toBeLessThan(10_000);
    expect(input).toBe('EU');
    expect(await row()).toEqual(before);
  });
});

describe('B57: a schedule that is backfilled', () => {
  it('starts a workflow for each tick of the period, without that of its end', async () => {
    const one = await startWith();
    const period = { from: tickBefore(3), until: tickBefore(1) };

    const ids = await one.engine.schedules.backfill('hourly', period);

    expect(ids).toEqual([runId('hourly', tickBefore(3)), runId('hourly', tickBefore(2))]);
    expect(await engines.runs()).toEqual(ids);
    expect((await row())?.next).toEqual(COMING_TICK);
  });

  it('again starts only what was not there', async () => {
    const one = await startWith({ input: 'old' });
    const schedules = one.engine.schedules;
    await schedules.backfill('hourly', { from: tickBefore(2), until: tickBefore(1) });
    await schedules.update('hourly', { input: 'new' });

    const ids = await schedules.backfill('hourly', { from: tickBefore(2), until: LAST_TICK });

    expect(ids).toHaveLength(2);
    const inputs = await engines.prisma.$queryRaw<Array<{ input: string }>>`
      SELECT input FROM dbos.workflows ORDER BY id`;
    expect(inputs.map(({ input }) => /old|new/.exec(input)?.[0])).toEqual(['old', 'new']);
  });

  it('starts nothing for ticks that are still to come', async () => {
    const one = await startWith();
    const period = { from: LAST_TICK, until: tickBefore(-5) };
    expect(await one.engine.schedules.backfill('hourly', period)).toEqual([
      runId('hourly', LAST_TICK),
    ]);
  });

  it('runs what it was asked for', async () => {
    const one = await engines.start({ admitted: true });
    await one.engine.schedules.create(spec());
    const period = { from: tickBefore(1), until: COMING_TICK };
    const ids = await one.engine.schedules.backfill('hourly', period);

    await Promise.all(ids.map((id) => one.engine.handle(id).result()));

    expect(one.reports).toEqual(expect.arrayContaining([[tickBefore(1)], [LAST_TICK]]));
  });

  it('by thousands is enqueued in parts', async () => {
    const one = await startWith({ cron: '* * * * * *' });
    const period = { from: new Date(LAST_TICK.getTime() - 1_199_000), until: LAST_TICK };

    const ids = await one.engine.schedules.backfill('hourly', period);

    expect(ids).toHaveLength(1_199);
    expect(await engines.runs()).toEqual(ids);
    expect(one.faults.matching('INSERT INTO dbos.workflows')).toHaveLength(3);
  });

  it('by too many is refused, and nothing is started', async () => {
    const one = await startWith({ cron: '* * * * * *' });
    const period = { from: new Date(LAST_TICK.getTime() - 10_001_000), until: LAST_TICK };

    await expect(one.engine.schedules.backfill('hourly', period)).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
      message: expect.stringMatching(/more than 10000 ticks.*parts/),
    });
    expect(await engines.runs()).toEqual([]);
  });

  it.each([
    ['begins after its end', { from: LAST_TICK, until: tickBefore(1) }],
    ['begins at no time', { from: new Date('x'), until: LAST_TICK }],
    ['ends at no time', { from: LAST_TICK, until: new Date('x') }],
    ['begins before 1970', { from: new Date(-1), until: LAST_TICK }],
    ['is one of texts', { from: '2026' as unknown as Date, until: LAST_TICK }],
  ])('for a period that %s is refused', async (_what, period) => {
    const one = await startWith();
    await expect(one.engine.schedules.backfill('hourly', period)).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
  });
});

describe('B57: a schedule that is deleted', () => {
  it('is fired no more; its workflows stay', async () => {
    const one = await startWith({ backfill: 'all' });
    const id = await one.engine.schedules.trigger('hourly');
    await engines.setNextTick('hourly', LAST_TICK);

    expect(await one.engine.schedules.delete('hourly')).toBe(true);

    expect(await one.look()).toBe(30_000);
    expect(await engines.runs()).toEqual([id]);
    expect(await one.engine.schedules.get('hourly')).toBeUndefined();
    expect(await one.engine.schedules.delete('hourly')).toBe(false);
  });
});

it.each([
  ['updated', ({ schedules }: Engine) => schedules.update('nobody', { input: 1 })],
  ['paused', ({ schedules }: Engine) => schedules.pause('nobody')],
  ['resumed', ({ schedules }: Engine) => schedules.resume('nobody')],
  ['triggered', ({ schedules }: Engine) => schedules.trigger('nobody')],
  [
    'backfilled',
    ({ schedules }: Engine) =>
      schedules.backfill('nobody', { from: LAST_TICK, until: COMING_TICK }),
  ],
])('A schedule that does not exist cannot be %s', async (_what, work) => {
  const { engine } = await engines.start();
  await expect(work(engine)).rejects.toMatchObject({
    code: 'DBOS_SCHEDULE_NOT_FOUND',
    message: expect.stringContaining('"nobody"'),
  });
});

describe('A set of schedules that is applied', () => {
  const [daily, weekly] = [
    spec({ name: 'daily', cron: '@daily' }),
    spec({ name: 'weekly', cron: '@weekly' }),
  ];

  it('has exactly these schedules, and no others are touched', async () => {
    const one = await startWith();
    await one.engine.schedules.applySet('other', [spec({ name: 'others' })]);
    await one.engine.schedules.applySet('reports', [daily, weekly]);

    const applied = await one.engine.schedules.applySet('reports', [
      daily,
      spec({ name: 'monthly', cron: '@monthly' }),
    ]);

    expect(applied).toEqual({ deleted: ['weekly'] });
    const schedules = await one.engine.schedules.list();
    expect(schedules.map(({ name, set }) => [name, set])).toEqual([
      ['daily', 'reports'],
      ['hourly', null],
      ['monthly', 'reports'],
      ['others', 'other'],
    ]);
  });

  it('keeps the ticks and pauses of those that are unchanged', async () => {
    const one = await engines.start();
    await one.engine.schedules.applySet('reports', [daily, weekly]);
    await engines.setNextTick('daily', LAST_TICK);
    await one.engine.schedules.pause('weekly');

    await one.engine.schedules.applySet('reports', [weekly, daily]);

    expect(await row('daily')).toEqual({ next: LAST_TICK, revision: 1 });
    expect(await row('weekly')).toEqual({ next: null, revision: 1 });
  });

  it('begins anew with what has another timetable, and keeps it paused', async () => {
    const one = await engines.start();
    await one.engine.schedules.applySet('reports', [daily, weekly]);
    await one.engine.schedules.pause('weekly');
    const changed = [daily, weekly].map((each) => ({ ...each, cron: HALF_PAST }));

    await one.engine.schedules.applySet('reports', changed);

    expect(await row('daily')).toEqual({ next: COMING_TICK, revision: 2 });
    expect(await row('weekly')).toEqual({ next: null, revision: 2 });
  });

  it('changes what is run without changing when', async () => {
    const one = await engines.start();
    await one.engine.schedules.applySet('reports', [daily]);
    await engines.setNextTick('daily', LAST_TICK);

    await one.engine.schedules.applySet('reports', [{ ...daily, input: 'EU' }]);
    await one.engine.schedules.applySet('reports', [{ ...daily, input: 'EU', timeout: '1h' }]);

    expect(await row('daily')).toEqual({ next: LAST_TICK, revision: 3 });
    expect(await one.engine.schedules.get('daily')).toMatchObject({ timeoutMs: 3_600_000 });
  });

  it('may be empty', async () => {
    const one = await engines.start();
    await one.engine.schedules.applySet('reports', [daily, weekly]);
    const { deleted } = await one.engine.schedules.applySet('reports', []);
    expect(deleted.toSorted()).toEqual(['daily', 'weekly']);
    expect(await one.engine.schedules.list()).toEqual([]);
  });

  it('by two processes at the same time is there once', async () => {
    const [one, other] = [await engines.start(), await engines.start()];
    await Promise.all(
      [one, other].map(({ engine }) => engine.schedules.applySet('reports', [daily, weekly])),
    );
    expect((await one.engine.schedules.list()).map(({ name }) => name)).toEqual([
      'daily',
      'weekly',
    ]);
  });

  it('with a name that belongs to a schedule outside of it changes nothing', async () => {
    const one = await startWith();
    await one.engine.schedules.applySet('reports', [weekly]);

    await expect(
      one.engine.schedules.applySet('reports', [daily, spec({ cron: '@daily' })]),
    ).rejects.toMatchObject({ code: 'DBOS_SCHEDULE_EXISTS', scheduleName: 'hourly' });

    const schedules = await one.engine.schedules.list();
    expect(schedules.map(({ name, cron }) => [name, cron])).toEqual([
      ['hourly', HALF_PAST],
      ['weekly', '@weekly'],
    ]);
  });

  it('with a name that another takes at this very moment says so, and leaves it to that one', async () => {
    const one = await engines.start();
    const applied = engines.prisma.$transaction(async (transaction) => {
      await transaction.$executeRaw`
        INSERT INTO dbos.schedules (name, workflow_name, cron, time_zone, backfill)
        VALUES ('daily', ${REPORT}, '@hourly', 'UTC', 'skip')`;
      const applying = one.engine.schedules.applySet('reports', [daily]);
      await eventually(async () =>
        expect(
          await engines.prisma.$queryRaw`
            SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        ).toHaveLength(1),
      );
      return { applying };
    }, LONG_TRANSACTION);
    await expect((await applied).applying).rejects.toMatchObject({ code: 'DBOS_SCHEDULE_EXISTS' });
    expect(await one.engine.schedules.get('daily')).toMatchObject({ cron: '@hourly', set: null });
  });

  it.each([
    ['a name twice', [daily, daily], 'DBOS_INVALID_ARGUMENT'],
    ['an unusable schedule', [weekly, spec({ cron: '' })], 'DBOS_INVALID_SCHEDULE'],
    [
      'more than a thousand',
      Array.from({ length: 1_001 }, (_, index) => spec({ name: `s${index}` })),
      'DBOS_INVALID_ARGUMENT',
    ],
  ])('with %s is refused, and nothing is written', async (_what, specs, code) => {
    const one = await engines.start();
    await expect(one.engine.schedules.applySet('reports', specs)).rejects.toMatchObject({ code });
    expect(await one.engine.schedules.list()).toEqual([]);
  });

  it('cannot be taken over by creating one of its schedules', async () => {
    const one = await engines.start();
    await one.engine.schedules.applySet('reports', [daily]);
    await expect(one.engine.schedules.create(daily)).rejects.toMatchObject({
      code: 'DBOS_SCHEDULE_EXISTS',
      message: expect.stringContaining('of set "reports"'),
    });
  });
});

describe('Schedules are listed', () => {
  it('page by page, with as many next runs as asked for', async () => {
    const one = await engines.start();
    for (const name of ['a', 'b', 'c']) await one.engine.schedules.create(spec({ name }));

    const page = await one.engine.schedules.list({ after: 'a', limit: 1, nextRuns: 2 });

    expect(page).toEqual([
      expect.objectContaining({ name: 'b', nextRuns: [COMING_TICK, tickBefore(-2)] }),
    ]);
    expect(await one.engine.schedules.list({ nextRuns: 0, limit: 1 })).toEqual([
      expect.objectContaining({ name: 'a', nextRuns: [] }),
    ]);
  });

  it('also where one cannot be read here', async () => {
    const one = await startWith({ input: 'EU' });
    await one.engine.schedules.create(spec({ name: 'other' }));
    await engines.prisma.$executeRaw`
      UPDATE dbos.schedules SET serialization = 'newer', time_zone = 'Mars/Base' WHERE name = 'hourly'`;

    expect(await one.engine.schedules.list()).toEqual([
      expect.objectContaining({ name: 'hourly', input: '"EU"', nextRuns: [COMING_TICK] }),
      expect.objectContaining({ name: 'other' }),
    ]);
  });

  it.each([
    [{ limit: 0 }],
    [{ limit: 1_001 }],
    [{ limit: 1.5 }],
    [{ nextRuns: -1 }],
    [{ nextRuns: 101 }],
    [{ after: '\n' }],
  ])('but not with %p', async (options) => {
    const { engine } = await engines.start();
    await expect(engine.schedules.list(options)).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
    });
  });
});

describe('In a workflow', () => {
  it('every call is an operation, recorded and done once', async () => {
    const one = await engines.start({
      admitted: true,
      workflows: {
        Manager: async ({ schedules }) => {
          await schedules.create(spec());
          await schedules.update('hourly', { input: 1 });
          await schedules.pause('hourly');
          await schedules.resume('hourly');
          await schedules.backfill('hourly', { from: LAST_TICK, until: COMING_TICK });
          await schedules.applySet('reports', []);
          const found = await schedules.get('hourly');
          const listed = await schedules.list();
          const deleted = await schedules.delete('hourly');
          return [found?.status, listed.length, deleted];
        },
      },
    });

    const handle = await one.engine.start('Manager', [], { workflowId: 'manager' });
    expect(await handle.result()).toEqual(['active', 1, true]);

    const steps = await one.engine.steps('manager');
    expect(steps.map(({ name }) => name)).toEqual([
      'schedules.create',
      'schedules.update',
      'schedules.pause',
      'schedules.resume',
      'schedules.backfill',
      'schedules.applySet',
      'schedules.get',
      'schedules.list',
      'schedules.delete',
    ]);
  });

  it('a schedule is triggered once, although the process dies before it is recorded', async () => {
    const Manager = ({ schedules }: Engine): Promise<string> => schedules.trigger('hourly');
    const [dying, other] = [
      await engines.start({ admitted: true, workflows: { Manager } }),
      await engines.start({ admitted: true, workflows: { Manager } }),
    ];
    await dying.engine.schedules.create(spec());
    const gate = dying.gates.hold('dbos.write_transitions', 'unsent');
    await dying.engine.start('Manager', [], { workflowId: 'manager' });
    await gate.reached;
    const before = await engines.runs();
    await dying.kill();
    gate.open();
    await engines.prisma
      .$executeRaw`UPDATE dbos.executors SET dead_at = now() WHERE id = ${dying.engine.executorId}`;

    const result = await eventually(async () => {
      other.clock.advance(1_000);
      const status = await other.engine.handle<string>('manager').status();
      expect(status.status).toBe('SUCCESS');
      return other.engine.handle<string>('manager').result();
    });

    expect(before).toEqual([result]);
    expect(await engines.runs()).toEqual([result]);
  });

  it('a step can look at schedules, but change none', async () => {
    const change = (schedules: Engine['schedules']): Array<Promise<unknown>> => [
      schedules.create(spec({ name: 'another' })),
      schedules.update('hourly', { input: 1 }),
      schedules.pause('hourly'),
      schedules.resume('hourly'),
      schedules.trigger('hourly'),
      schedules.backfill('hourly', { from: LAST_TICK, until: COMING_TICK }),
      schedules.delete('hourly'),
      schedules.applySet('reports', []),
    ];
    const one = await engines.start({
      admitted: true,
      workflows: {
        Manager: ({ flow, schedules }) =>
          flow.step('manage', async () => {
            const refused = await Promise.allSettled(change(schedules));
            const codes = refused.map(
              (each) => each.status === 'rejected' && (each.reason as { code: string }).code,
            );
            return [new Set(codes), (await schedules.list()).length];
          }),
      },
    });
    await one.engine.schedules.create(spec());

    const handle = await one.engine.start('Manager', [], { workflowId: 'manager' });

    expect(await handle.result()).toEqual([new Set(['DBOS_FORBIDDEN_IN_STEP']), 1]);
    expect(await row()).toMatchObject({ revision: 1 });
    expect((await one.engine.steps('manager')).map(({ name }) => name)).toEqual(['manage']);
  });
});

it('Schedules cannot be used before the launch', async () => {
  let early: Promise<unknown> | undefined;
  await engines.start({
    prepare: ({ schedules }) => {
      early = schedules.create(spec()).catch((error: unknown) => error);
    },
  });
  expect(await early).toMatchObject({
    code: 'DBOS_NOT_RUNNING',
    message: expect.stringContaining('@Scheduled()'),
  });
});
