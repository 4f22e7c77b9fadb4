// Which ticks are fired after nobody was there for a while, by policy.
import fc from 'fast-check';
import { dueTicks, MISSED_TICKS, ON_TIME_MS, type MissedTicks } from './schedule-ticks.js';
import { Timetable } from './schedule-timetable.js';

const hourly = Timetable.of('0 * * * *', 'UTC');
const everySecond = Timetable.of('* * * * * *', 'UTC');

function at(time: string): Date {
  return new Date(`2026-01-01T${time}Z`);
}

/** What is fired of an hourly schedule, and where it goes on, by hours and minutes. */
function hours(backfill: MissedTicks, nextTickAt: string, now: string, limit = 100) {
  const due = dueTicks(hourly, { backfill, nextTickAt: at(nextTickAt) }, at(now), limit);
  const clock = (moment: Date | undefined): string | undefined =>
    moment?.toISOString().slice(11, 16);
  return { ...due, ticks: due.ticks.map(clock), next: clock(due.next) };
}

describe('The ticks of a schedule that are due', () => {
  it.each(MISSED_TICKS)('are those on time, whatever the policy (%s)', (backfill) => {
    expect(hours(backfill, '12:00', '12:00:01')).toEqual({
      ticks: ['12:00'],
      next: '13:00',
      passedOver: false,
    });
  });

  it.each(MISSED_TICKS)('are none before their time (%s)', (backfill) => {
    expect(hours(backfill, '12:00', '11:59:59')).toMatchObject({ ticks: [], next: '12:00' });
  });

  it.each(MISSED_TICKS)('are on time for a minute, every one of them (%s)', (backfill) => {
    const now = at('12:01:00');
    const due = dueTicks(everySecond, { backfill, nextTickAt: at('12:00:00') }, now, 100);
    expect(due.ticks).toHaveLength(61);
    expect(due).toMatchObject({ next: at('12:01:01'), passedOver: false });
  });

  it('are none of the missed ones with the policy "skip"', () => {
    expect(hours('skip', '09:00', '12:30')).toEqual({
      ticks: [],
      next: '13:00',
      passedOver: true,
    });
  });

  it('are the last of the missed ones with the policy "latest"', () => {
    expect(hours('latest', '09:00', '12:30')).toEqual({
      ticks: ['12:00'],
      next: '13:00',
      passedOver: true,
    });
  });

  it('are the only missed one with the policy "latest"', () => {
    expect(hours('latest', '12:00', '12:30')).toEqual({
      ticks: ['12:00'],
      next: '13:00',
      passedOver: false,
    });
  });

  it('are all of the missed ones with the policy "all"', () => {
    expect(hours('all', '09:00', '12:30')).toEqual({
      ticks: ['09:00', '10:00', '11:00', '12:00'],
      next: '13:00',
      passedOver: false,
    });
  });

  it.each(['skip', 'latest'] as const)(
    'are only the one on time where one is, with the policy "%s"',
    (backfill) => {
      expect(hours(backfill, '09:00', '12:00:30')).toEqual({
        ticks: ['12:00'],
        next: '13:00',
        passedOver: true,
      });
    },
  );

  it('are at most so many at once, and the rest is due still', () => {
    expect(hours('all', '03:00', '12:30', 3)).toEqual({
      ticks: ['03:00', '04:00', '05:00'],
      next: '06:00',
      passedOver: false,
    });
  });

  it('begin with the moment that stands in the row, were it none of the timetable', () => {
    expect(hours('latest', '12:17', '12:30')).toMatchObject({ ticks: ['12:17'], next: '13:00' });
  });

  describe('at one look after the other', () => {
    const pauses = fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 30 });
    const limits = fc.integer({ min: 61, max: 200 });

    /** What is fired, and what the timetable has, until the last look. */
    function fired(backfill: MissedTicks, seconds: readonly number[], limit: number) {
      const from = at('00:00:00');
      let [nextTickAt, now] = [from, from];
      const ticks: Date[] = [];
      for (const pause of seconds) {
        now = new Date(now.getTime() + pause * 1_000);
        const due = dueTicks(hourly, { backfill, nextTickAt }, now, limit);
        ticks.push(...due.ticks);
        nextTickAt = due.next ?? nextTickAt;
      }
      const until = new Date(now.getTime() + 1);
      return { ticks, all: hourly.ticks({ from, until, limit: 10_000 }), nextTickAt, now };
    }

    it.each(MISSED_TICKS)('are fired once and in order (%s)', (backfill) => {
      fc.assert(
        fc.property(pauses, limits, (seconds, limit) => {
          const { ticks, all, nextTickAt, now } = fired(backfill, seconds, limit);
          const times = ticks.map((tick) => tick.getTime());
          expect(times).toEqual([...new Set(times)].toSorted((a, b) => a - b));
          expect(all).toEqual(expect.arrayContaining(ticks));
          expect(nextTickAt.getTime()).toBeGreaterThan(now.getTime());
        }),
      );
    });

    it('are all fired with the policy "all"', () => {
      fc.assert(
        fc.property(pauses, limits, (seconds, limit) => {
          const { ticks, all } = fired('all', seconds, limit);
          expect(ticks).toEqual(all);
        }),
      );
    });
  });

  it('are looked for often enough: a restart and a lost connection fit into what is on time', () => {
    expect(ON_TIME_MS).toBeGreaterThanOrEqual(2 * 30_000);
  });
});
