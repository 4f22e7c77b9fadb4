// Ticks of schedules on a real database: fired once, on time, over any number of processes and whatever dies.
import type { ScheduleSpec } from '../../libs/dbos/src/engine/schedule-definition.js';
import { eventually } from '../support/eventually.js';
import { connectionError, sqlStateError } from '../support/faulty-client.js';
import { COMING_TICK, HALF_PAST, LAST_TICK, runId, tickBefore } from '../support/half-past.js';
import {
  LONG_TRANSACTION,
  QUEUE,
  REPORT,
  useScheduleEngines,
  type ScheduleEngine,
} from '../support/schedule-engines.js';
import { wallClockTicks } from '../support/wall-clock-cron.js';

const HOUR_MS = 3_600_000;
/** Parts of the statements that look for due ticks, and that fire them. */
const LOOK = 'next_due_in_ms';
const FIRE = 'moved AS';

const engines = useScheduleEngines();

function spec(settings: Partial<ScheduleSpec> = {}): ScheduleSpec {
  return { name: 'hourly', workflow: REPORT, cron: HALF_PAST, ...settings };
}

/** An engine with this schedule, whose last tick has come due and was not fired. */
async function startWithDue(
  settings: Partial<ScheduleSpec> = {},
  tick = LAST_TICK,
): Promise<ScheduleEngine> {
  const one = await engines.start();
  const schedule = spec({ backfill: 'all', ...settings });
  await one.engine.schedules.create(schedule);
  await engines.setNextTick(schedule.name, tick);
  return one;
}

async function nextTick(name = 'hourly'): Promise<Date | null | undefined> {
  const rows = await engines.prisma.$queryRaw<Array<{ next: Date | null }>>`
    SELECT next_tick_at AS next FROM dbos.schedules WHERE name = ${name}`;
  return rows[0]?.next;
}

describe('B57: a tick', () => {
  it('becomes one workflow, whose id and arguments say which tick it is', async () => {
    const one = await engines.start({ admitted: true, options: { applicationVersion: 'v1' } });
    await one.engine.schedules.create(
      spec({ backfill: 'all', input: { region: 'EU' }, timeout: '1h' }),
    );
    await engines.setNextTick('hourly', LAST_TICK);

    one.engine.schedules.scheduler.wake();

    await eventually(() => expect(one.reports).toEqual([[LAST_TICK, { region: 'EU' }]]));
    const id = runId('hourly', LAST_TICK);
    expect(await engines.runs()).toEqual([id]);
    expect(
      await engines.prisma
        .$queryRaw`SELECT application_version, timeout_ms FROM dbos.workflows WHERE id = ${id}`,
    ).toEqual([{ application_version: 'v1', timeout_ms: 3_600_000 }]);
    expect(await nextTick()).toEqual(COMING_TICK);
    expect(await one.engine.schedules.get('hourly')).toMatchObject({ lastTickAt: LAST_TICK });
  });

  it('waits on the queue of its schedule', async () => {
    const one = await startWithDue({ queue: QUEUE });

    await one.look();

    expect(
      await engines.prisma.$queryRaw`SELECT status, queue, epoch, executor_id FROM dbos.workflows`,
    ).toEqual([{ status: 'ENQUEUED', queue: QUEUE, epoch: 0, executor_id: null }]);
  });

  it('is taken from its queue at once', async () => {
    const one = await engines.start({ admitted: true });
    await one.engine.schedules.create(spec({ backfill: 'all', queue: QUEUE }));
    await engines.setNextTick('hourly', LAST_TICK);
    one.engine.schedules.scheduler.wake();
    await eventually(() => expect(one.reports).toEqual([[LAST_TICK]]));
  });

  it('is told to those who listen to its queue, by one who does not', async () => {
    const worker = await engines.start({ admitted: true, listens: true });
    const one = await engines.start({ admitted: true, listens: true, options: { listen: [] } });
    await one.engine.schedules.create(spec({ backfill: 'all', queue: QUEUE }));
    await engines.setNextTick('hourly', LAST_TICK);
    await one.look();
    await eventually(() => expect(worker.reports).toEqual([[LAST_TICK]]));
  });

  it('is fired once by three processes whose clocks are hours apart', async () => {
    const three = await Promise.all(
      [-HOUR_MS, 0, HOUR_MS].map((skewMs) => engines.start({ skewMs })),
    );
    await three[0]?.engine.schedules.create(spec({ backfill: 'all' }));
    for (const hours of [3, 2, 1, 0]) {
      await engines.setNextTick('hourly', tickBefore(hours));
      // All have looked before any of them fires.
      const gates = three.map(({ gates: each }) => each.hold(FIRE, 'unsent'));
      const looks = three.map((each) => each.look());
      await Promise.all(gates.map(({ reached }) => reached));
      gates.forEach((gate) => gate.open());
      await Promise.all(looks);
      expect(await nextTick()).toEqual(COMING_TICK);
    }
    expect(await engines.runs()).toEqual([3, 2, 1, 0].map((h) => runId('hourly', tickBefore(h))));
  });

  it('is not fired early by a process whose clock is ahead', async () => {
    const ahead = await engines.start({ skewMs: HOUR_MS });
    await ahead.engine.schedules.create(spec());

    const pauseMs = await ahead.look();

    expect(await nextTick()).toEqual(COMING_TICK);
    expect(pauseMs).toBe(30_000);
    expect(await engines.runs()).toEqual([]);
  });

  it('is waited for by the clock of the database, to the millisecond', async () => {
    const one = await engines.start({ skewMs: -HOUR_MS });
    await one.engine.schedules.create(spec());
    await engines.setNextTick('hourly', new Date(Date.now() + 20_000));

    const pauseMs = await one.look();

    expect(pauseMs).toBeLessThanOrEqual(20_000);
    expect(pauseMs).toBeGreaterThan(0); // nearly all of it, on a machine that has time
  });

  it('is not fired again by one who looked before another fired it', async () => {
    const [late, quick] = [await startWithDue(), await engines.start()];
    await engines.setNextTick('hourly', tickBefore(2));
    const gate = late.gates.hold(FIRE, 'unsent');
    const lateLook = late.look();
    await gate.reached;
    await quick.look();
    await engines.prisma.$executeRaw`DELETE FROM dbos.workflows`; // as a retention may

    gate.open();
    await lateLook;

    expect(await engines.runs()).toEqual([]);
    expect(await nextTick()).toEqual(COMING_TICK);
  });

  it('is not fired when its schedule was changed after the look', async () => {
    const one = await startWithDue();
    const gate = one.gates.hold(FIRE, 'unsent');
    const look = one.look();
    await gate.reached;
    await one.engine.schedules.update('hourly', { input: 'new' });

    gate.open();
    await look;
    expect(await engines.runs()).toEqual([]);

    await one.look();
    expect(await engines.runs()).toEqual([runId('hourly', LAST_TICK)]);
  });

  it('is not fired when its schedule was paused after the look', async () => {
    const one = await startWithDue();
    const gate = one.gates.hold(FIRE, 'unsent');
    const look = one.look();
    await gate.reached;
    await one.engine.schedules.pause('hourly');

    gate.open();
    await look;
    await one.look();

    expect(await engines.runs()).toEqual([]);
  });

  it('that has its workflow already is passed by, and the schedule goes on', async () => {
    const one = await startWithDue({}, tickBefore(1));
    const period = { from: tickBefore(1), until: LAST_TICK };
    await one.engine.schedules.backfill('hourly', period);

    await one.look();

    expect(await engines.runs()).toEqual([
      runId('hourly', tickBefore(1)),
      runId('hourly', LAST_TICK),
    ]);
    expect(await nextTick()).toEqual(COMING_TICK);
  });

  it('is fired together with those of other schedules, in one statement', async () => {
    const one = await engines.start();
    const names = Array.from({ length: 20 }, (_, index) => `schedule-${index + 10}`);
    for (const name of names) {
      await one.engine.schedules.create(spec({ name, backfill: 'all' }));
      await engines.setNextTick(name, LAST_TICK);
    }

    await one.look();

    expect(one.faults.matching(FIRE)).toHaveLength(1);
    expect(await engines.runs()).toEqual(names.map((name) => runId(name, LAST_TICK)));
  });

  it('is set by hand as well', async () => {
    const byHand = new Date(LAST_TICK.getTime() + 123_456);
    const one = await startWithDue();
    await engines.prisma.$executeRaw`
      UPDATE dbos.schedules SET next_tick_at = ${byHand}::timestamptz + interval '789 microseconds'`;

    await one.look();

    expect(await engines.runs()).toEqual([runId('hourly', byHand)]);
    expect(await nextTick()).toEqual(COMING_TICK);
  });
});

describe('B57: a process fires no tick', () => {
  it('before the engine is admitted', async () => {
    const one = await startWithDue();
    one.engine.schedules.scheduler.wake();
    one.clock.advance(HOUR_MS);
    await new Promise((resolve) => setImmediate(resolve));
    expect(one.faults.matching(LOOK)).toEqual([]);

    one.engine.admit();
    await eventually(async () => expect(await engines.runs()).toHaveLength(1));
  });

  it('once its shutdown has begun', async () => {
    const one = await startWithDue();
    const gate = one.gates.hold(LOOK, 'committed');
    one.engine.admit();
    await gate.reached;

    const closed = one.close();
    gate.open();
    await closed;

    expect(one.faults.matching(FIRE)).toEqual([]);
    expect(await engines.runs()).toEqual([]);
  });

  it('of a workflow that it does not have', async () => {
    const owner = await startWithDue();
    const other = await engines.start({ reports: false });

    expect(await other.look()).toBe(30_000);
    expect(await engines.runs()).toEqual([]);
    await engines.setNextTick('hourly', new Date(Date.now() + 10_000));
    expect(await other.look()).toBe(30_000);
    await engines.setNextTick('hourly', LAST_TICK);
    await owner.look();
    expect(await engines.runs()).toHaveLength(1);
  });

  it('where no workflows run', async () => {
    await startWithDue();
    const other = await engines.start({ admitted: true, options: { runWorkflows: false } });
    other.engine.schedules.scheduler.wake();
    await new Promise((resolve) => setImmediate(resolve));
    expect(other.faults.matching(LOOK)).toEqual([]);
  });

  it('whose schedule somebody holds locked, and fires those of others', async () => {
    const one = await startWithDue();
    await one.engine.schedules.create(spec({ name: 'other', backfill: 'all' }));
    await engines.setNextTick('other', LAST_TICK);

    await engines.prisma.$transaction(async (transaction) => {
      await transaction.$executeRaw`SELECT FROM dbos.schedules WHERE name = 'hourly' FOR UPDATE`;
      await one.look();
      expect(await engines.runs()).toEqual([runId('other', LAST_TICK)]);
      expect(await one.look()).toBe(1_000); // and does not ask for it without a break
    }, LONG_TRANSACTION);

    await one.look();
    expect(await engines.runs()).toContain(runId('hourly', LAST_TICK));
  });

  it('whose input it cannot read, and fires those of others', async () => {
    const one = await startWithDue({ input: { region: 'EU' } });
    await engines.prisma.$executeRaw`UPDATE dbos.schedules SET serialization = 'newer'`;
    await one.engine.schedules.create(spec({ name: 'other', backfill: 'all' }));
    await engines.setNextTick('other', LAST_TICK);

    await one.look();
    expect(await engines.runs()).toEqual([runId('other', LAST_TICK)]);
    expect(await one.look()).toBe(30_000);

    await engines.prisma
      .$executeRaw`UPDATE dbos.schedules SET serialization = 'json' WHERE name = 'hourly'`;
    one.clock.advance(30_000);
    await one.look();
    expect(await engines.runs()).toContain(runId('hourly', LAST_TICK));
  });
});

describe('B57: a tick is fired once', () => {
  it('when the process that was about to fire it dies', async () => {
    const [dying, other] = [await startWithDue(), await engines.start()];
    const gate = dying.gates.hold(FIRE, 'unsent');
    const look = dying.look().catch(() => undefined);
    await gate.reached;
    await dying.kill();

    await other.look();
    gate.open();
    await look;

    expect(await engines.runs()).toEqual([runId('hourly', LAST_TICK)]);
  });

  it('when the process dies before it hears that it has fired it', async () => {
    const [dying, other] = [await startWithDue(), await engines.start()];
    const gate = dying.gates.hold(FIRE, 'committed');
    const look = dying.look().catch(() => undefined);
    await gate.reached;
    await dying.kill();
    gate.open();
    await look;

    expect(await other.look()).toBe(30_000);
    expect(await engines.runs()).toEqual([runId('hourly', LAST_TICK)]);
  });

  it.each([
    ['a lost connection', connectionError],
    ['a restart of the server', () => sqlStateError('57P01')],
    ['a statement timeout', () => sqlStateError('57014')],
  ])('after %s, without anybody doing anything', async (_what, error) => {
    const one = await startWithDue();
    one.faults.failNext(LOOK, error, 3);
    one.faults.failNext(FIRE, error, 2);
    one.engine.admit();

    await eventually(async () => {
      one.clock.advance(1_000); // the loop pauses after a failure
      expect(await engines.runs()).toEqual([runId('hourly', LAST_TICK)]);
    });
    expect(await nextTick()).toEqual(COMING_TICK);
  });

  it('when the answer of the database is lost', async () => {
    const one = await startWithDue();
    one.faults.loseAnswerOfNext(FIRE);
    await expect(one.look()).rejects.toMatchObject({ code: 'DBOS_DATABASE_UNAVAILABLE' });

    expect(await one.look()).toBe(30_000);
    expect(await engines.runs()).toEqual([runId('hourly', LAST_TICK)]);
  });
});

describe('B57: after hours without any process, a schedule', () => {
  it.each([
    ['skip', []],
    ['latest', [0]],
    ['all', [2, 1, 0]],
  ] as const)('with the policy "%s" makes up for what it should', async (backfill, hours) => {
    await startWithDue({ backfill }, tickBefore(2));
    const restarted = await engines.start();

    await restarted.look();

    expect(await engines.runs()).toEqual(hours.map((each) => runId('hourly', tickBefore(each))));
    expect(await nextTick()).toEqual(COMING_TICK);
  });

  it('skips what was missed unless it is told otherwise', async () => {
    const one = await startWithDue({ backfill: undefined }, tickBefore(2));
    await one.look();
    expect(await engines.runs()).toEqual([]);
  });

  it('fires a tick that is less than a minute late, whatever its policy', async () => {
    const late = new Date(Date.now() - 30_000);
    const one = await startWithDue({ backfill: 'skip' }, late);
    await one.look();
    expect(await engines.runs()).toEqual([runId('hourly', late)]);
  });

  it('makes up for many ticks in batches, without a pause between them', async () => {
    const from = new Date(LAST_TICK.getTime() - 15 * 60_000);
    const one = await startWithDue({ cron: '* * * * * *', backfill: 'all' }, from);

    const pauses = [await one.look(), await one.look()];

    expect(pauses).toEqual([0, 0]);
    const ids = await engines.runs();
    const seconds = Array.from({ length: 1_000 }, (_, index) => from.getTime() + index * 1_000);
    expect(ids).toEqual(seconds.map((ms) => runId('hourly', new Date(ms))));
    expect(await nextTick()).toEqual(new Date(from.getTime() + 1_000_000));
  });

  it('is not held up by another that has many ticks to make up for', async () => {
    const from = new Date(LAST_TICK.getTime() - 30 * 60_000);
    const one = await startWithDue({ name: 'busy', cron: '* * * * * *', backfill: 'all' }, from);
    await one.engine.schedules.create(spec({ backfill: 'all' }));
    await engines.setNextTick('hourly', LAST_TICK);

    await one.look();

    expect(await engines.runs()).toContain(runId('hourly', LAST_TICK));
  });

  it('makes up for few of its ticks at a time when others have many, too', async () => {
    const from = new Date(LAST_TICK.getTime() - 30 * 60_000);
    const one = await engines.start();
    for (const name of ['busy', 'busier', 'busiest']) {
      await one.engine.schedules.create(spec({ name, cron: '* * * * * *', backfill: 'all' }));
      await engines.setNextTick(name, from);
    }

    await one.look();

    const ids = await engines.runs();
    expect(ids.length).toBeLessThanOrEqual(500);
    expect(new Set(ids.map((id) => id.split('-')[1]))).toEqual(
      new Set(['busy', 'busier', 'busiest']),
    );
  });

  it('waits for the next look when the inputs of others are large', async () => {
    const input = 'x'.repeat(3 * 1024 * 1024);
    const one = await engines.start();
    for (const name of ['a', 'b', 'c']) {
      await one.engine.schedules.create(spec({ name, backfill: 'all', input }));
      await engines.setNextTick(name, LAST_TICK);
    }

    expect(await one.look()).toBe(0);
    expect(await engines.runs()).toHaveLength(2);
    await one.look();
    expect(await engines.runs()).toHaveLength(3);
  });

  it('makes up for few ticks at a time when its input is large', async () => {
    const input = 'x'.repeat(3 * 1024 * 1024);
    const one = await startWithDue({ backfill: 'all', input }, tickBefore(1));

    await one.look();
    expect(await engines.runs()).toEqual([runId('hourly', tickBefore(1))]);
    await one.look();
    expect(await engines.runs()).toHaveLength(2);
  });
});

describe('B57: over the changes of the clocks of more than a year, a schedule fires', () => {
  it.each([
    ['Europe/Berlin', '30 2 * * *'],
    ['America/New_York', '0 1,2,3 * * *'],
    ['Australia/Lord_Howe', '15 */2 * * *'],
    ['UTC', '0 2 * * *'],
  ])('what a wall clock shows, each tick once (%s, %s)', async (timeZone, cron) => {
    const from = new Date(Date.UTC(new Date().getUTCFullYear() - 1, 0, 1));
    const until = new Date(Date.now() + 1);
    const ticks = wallClockTicks(cron, timeZone, { from, until });
    const one = await startWithDue({ name: 'year', cron, timeZone, backfill: 'all' }, ticks[0]);

    for (let looks = 0; (await one.look()) === 0 && looks < 50; looks += 1);

    expect(await engines.runs()).toEqual(ticks.map((tick) => runId('year', tick)));
    expect(ticks.length).toBeGreaterThan(365);
  });
});

describe('B57: an idle scheduler', () => {
  it('asks the database twice a minute', async () => {
    const one = await engines.start({ admitted: true });
    await one.engine.schedules.create(spec());
    await eventually(() => expect(one.clock.pending).toContain(30_000));
    const before = one.faults.matching('dbos.schedules').length;

    for (let seconds = 0; seconds < 600; seconds += 1) {
      one.clock.advance(1_000);
      await new Promise((resolve) => setImmediate(resolve));
      await eventually(() => expect(one.engine.schedules.scheduler['ticking']).toBeUndefined());
    }

    const sent = one.faults.matching('dbos.schedules').length - before;
    expect(sent).toBeLessThanOrEqual(20);
    expect(sent).toBeGreaterThan(15);
  });

  it('looks at once when a schedule is made here', async () => {
    const one = await engines.start({ admitted: true });
    await eventually(() => expect(one.clock.pending).toContain(30_000));

    await one.engine.schedules.create(spec());

    await eventually(() => expect(one.faults.matching(LOOK).length).toBeGreaterThan(1));
  });

  it('looks at once when one is made elsewhere, if it listens', async () => {
    const one = await engines.start({ admitted: true, listens: true });
    await eventually(() => expect(one.clock.pending).toContain(30_000));
    const looks = one.faults.matching(LOOK).length;

    await startWithDue();

    await eventually(() => expect(one.faults.matching(LOOK).length).toBeGreaterThan(looks));
  });

  it('sees within half a minute what another process has made', async () => {
    const one = await engines.start({ admitted: true });
    await eventually(() => expect(one.clock.pending).toContain(30_000));
    await startWithDue();

    one.clock.advance(30_000);

    await eventually(async () =>
      expect(await engines.runs()).toEqual([runId('hourly', LAST_TICK)]),
    );
  });
});
