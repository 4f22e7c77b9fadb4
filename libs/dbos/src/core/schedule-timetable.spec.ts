// Cron expressions in time zones: what is refused and where, and every tick against a matcher that looks at every minute.
import fc from 'fast-check';
import { wallClockTicks, type Span } from '../../../../test/support/wall-clock-cron.js';
import { InvalidScheduleError } from './schedule-errors.js';
import { Timetable } from './schedule-timetable.js';

function refusal(expression: unknown, timeZone: unknown = 'UTC'): InvalidScheduleError {
  try {
    Timetable.of(expression as string, timeZone as string);
  } catch (error) {
    return error as InvalidScheduleError;
  }
  throw new Error('It was accepted.');
}

function ticks(expression: string, timeZone: string, from: string, limit: number): string[] {
  const range = { from: new Date(from), until: new Date('2100-01-01'), limit };
  return Timetable.of(expression, timeZone)
    .ticks(range)
    .map((tick) => tick.toISOString().replace('.000Z', 'Z'));
}

describe('A timetable', () => {
  describe('is refused for', () => {
    it.each([
      ['60 * * * *', 'minute', 1, '0-59'],
      ['0 24 * * *', 'hour', 3, '0-23'],
      ['0  0,12,25 * * *', 'hour', 9, '0-23'],
      ['0 0 32 * *', 'day of month', 5, '1-31'],
      ['0 0 1 13 *', 'month', 7, '1-12'],
      ['0 0 * * MON-FRY', 'day of week', 9, 'SUN-SAT'],
      ['61 0 0 * * *', 'second', 1, '0-59'],
      ['0 0 0 1 1 8', 'day of week', 11, '0-7'],
      ['*/0 * * * *', 'minute', 1, 'steps'],
      ['30-10 * * * *', 'minute', 1, 'ranges'],
      ['1,,2 * * * *', 'minute', 1, 'lists'],
      ['H * * * *', 'minute', 1, '0-59'],
      ['0 0 * * 5#6', 'day of week', 9, 'FRI#2'],
    ])('"%s": the %s, at character %d', (expression, name, position, use) => {
      const { code, fault, message } = refusal(expression);
      expect({ code, fault }).toEqual({
        code: 'DBOS_INVALID_SCHEDULE',
        fault: { part: 'cron', field: name, position },
      });
      expect(message).toContain(`"${expression}"`);
      expect(message).toContain(use);
    });

    it.each([
      ['too few fields', '* * * *', 8],
      ['a field for years', '0 0 0 1 1 * 2027', 13],
      ['a moment', '2030-01-23T00:00:00', 20],
      ['nothing', '', 1],
    ])('%s', (_what, expression, position) => {
      const { fault, message } = refusal(expression);
      expect(fault).toEqual({ part: 'cron', position });
      expect(message).toMatch(/five.*six/);
    });

    it('a nickname that nobody knows', () => {
      expect(refusal(' @fortnightly')).toMatchObject({
        fault: { part: 'cron', position: 2 },
        message: expect.stringContaining('@weekly'),
      });
    });

    it.each(['0 0 30 2 *', '0 0 31 4,6 *', '0 0 1 1 +MON#3'])(
      'a date that never comes: %s',
      (expression) => {
        expect(refusal(expression).message).toMatch(/never comes/);
      },
    );

    it('what is no text, or far too long', () => {
      expect(refusal(5).message).toMatch(/text, not number/);
      expect(refusal(`${'1,'.repeat(200)}1 * * * *`).message).toMatch(/at most 256/);
    });

    it.each(['Europe/Berlinn', '', '+02:00', 'local', undefined])(
      'a time zone that is none: %p',
      (timeZone) => {
        expect(refusal('0 0 * * *', timeZone ?? null)).toMatchObject({
          code: 'DBOS_INVALID_SCHEDULE',
          fault: { part: 'timeZone' },
          message: expect.stringContaining('IANA'),
        });
      },
    );
  });

  it.each([
    ['five fields', '*/20 * * * *', '2026-01-01T00:20:00Z'],
    ['seconds first', '*/20 * * * * *', '2026-01-01T00:00:20Z'],
    ['names', '0 0 * FEB TUE', '2026-02-03T00:00:00Z'],
    ['the last day of the month', '0 0 L * *', '2026-01-31T00:00:00Z'],
    ['the weekday nearest to a day', '0 0 31W * *', '2026-01-30T00:00:00Z'],
    ['the second Friday', '0 0 * * FRI#2', '2026-01-09T00:00:00Z'],
    ['the last Friday', '0 0 * * FRI#L', '2026-01-30T00:00:00Z'],
    ['a day of month or a weekday', '0 0 20 * TUE', '2026-01-06T00:00:00Z'],
    ['a day of month that is a weekday', '0 0 20 * +FRI', '2026-02-20T00:00:00Z'],
    ['the seventh day for Sunday', '0 0 * * 7', '2026-01-04T00:00:00Z'],
    ['a nickname', '@monthly', '2026-02-01T00:00:00Z'],
    ['a leap day', '0 0 29 2 *', '2028-02-29T00:00:00Z'],
  ])('takes %s', (_what, expression, first) => {
    expect(ticks(expression, 'UTC', '2026-01-01T00:00:01Z', 1)).toEqual([first]);
  });

  it('has its first tick after a moment, however little after', () => {
    const timetable = Timetable.of('* * * * * *', 'UTC');
    const at = (time: string): string | undefined =>
      timetable.next(new Date(`2026-01-01T${time}Z`))?.toISOString();
    expect(at('00:00:00.000')).toBe('2026-01-01T00:00:01.000Z');
    expect(at('00:00:00.001')).toBe('2026-01-01T00:00:01.000Z');
    expect(at('00:00:00.999')).toBe('2026-01-01T00:00:01.000Z');
  });

  it('has its last tick in the year 9999', () => {
    const timetable = Timetable.of('0 0 * * *', 'UTC');
    expect(timetable.next(new Date('9999-12-31T00:00:00Z'))).toBeUndefined();
  });

  it('returns the ticks of a range with its beginning and without its end, at most so many', () => {
    const [from, until] = [new Date('2026-01-01T00:00Z'), new Date('2026-01-01T03:00Z')];
    const timetable = Timetable.of('0 * * * *', 'UTC');
    const hours = (limit: number): number[] =>
      timetable.ticks({ from, until, limit }).map((tick) => tick.getUTCHours());
    expect(hours(10)).toEqual([0, 1, 2]);
    expect(hours(2)).toEqual([0, 1]);
    expect(hours(0)).toEqual([]);
  });

  it('has the tick before a moment', () => {
    const timetable = Timetable.of('0 3 * * *', 'Europe/Berlin');
    expect(timetable.previous(new Date('2026-07-02T01:00:00Z'))).toEqual(
      new Date('2026-07-01T01:00:00Z'),
    );
  });
});

describe('Where clocks are put forward, a timetable', () => {
  it.each([
    ['Europe/Berlin', '30 2 * * *', '2026-03-29T00:00Z', '2026-03-29T01:00:00Z'],
    ['America/New_York', '30 2 * * *', '2026-03-08T06:00Z', '2026-03-08T07:00:00Z'],
    ['Australia/Lord_Howe', '15 2 * * *', '2026-10-03T14:00Z', '2026-10-03T15:30:00Z'],
    ['Africa/Cairo', '30 0 * * *', '2026-04-23T12:00Z', '2026-04-23T22:00:00Z'],
  ])('has a time of day in the gap when the gap ends (%s)', (zone, expression, from, first) => {
    expect(ticks(expression, zone, from, 1)).toEqual([first]);
  });

  it('has several times of day in the gap as one', () => {
    expect(ticks('0,30 2 * * *', 'Europe/Berlin', '2026-03-29T00:00Z', 2)).toEqual([
      '2026-03-29T01:00:00Z',
      '2026-03-30T00:00:00Z',
    ]);
  });

  it('goes on in its rhythm, leaving the gap out', () => {
    expect(ticks('*/30 * * * *', 'Europe/Berlin', '2026-03-29T00:00Z', 4)).toEqual([
      '2026-03-29T00:00:00Z',
      '2026-03-29T00:30:00Z',
      '2026-03-29T01:00:00Z',
      '2026-03-29T01:30:00Z',
    ]);
  });
});

describe('Where clocks are put back, a timetable', () => {
  it.each([
    ['Europe/Berlin', '2026-10-25T00:00Z', ['2026-10-25T00:30:00Z', '2026-10-26T01:30:00Z']],
    ['America/New_York', '2026-11-01T04:00Z', ['2026-11-01T07:30:00Z', '2026-11-02T07:30:00Z']],
  ])('has a time of day once, the first time (%s)', (zone, from, both) => {
    expect(ticks('30 2 * * *', zone, from, 2)).toEqual(both);
  });

  it('has a list of times of day once', () => {
    expect(ticks('30 1,2 * * *', 'Europe/Berlin', '2026-10-24T22:00Z', 3)).toEqual([
      '2026-10-24T23:30:00Z',
      '2026-10-25T00:30:00Z',
      '2026-10-26T00:30:00Z',
    ]);
  });

  it('goes on in its rhythm through both passes', () => {
    expect(ticks('30 * * * *', 'Europe/Berlin', '2026-10-25T00:00Z', 3)).toEqual([
      '2026-10-25T00:30:00Z',
      '2026-10-25T01:30:00Z',
      '2026-10-25T02:30:00Z',
    ]);
  });

  it('by half an hour has that half hour twice in its rhythm', () => {
    expect(ticks('*/15 * * * *', 'Australia/Lord_Howe', '2026-04-04T14:30Z', 4)).toEqual([
      '2026-04-04T14:30:00Z',
      '2026-04-04T14:45:00Z',
      '2026-04-04T15:00:00Z',
      '2026-04-04T15:15:00Z',
    ]);
  });
});

const ZONES = {
  'Europe/Berlin': ['2026-03-29T01:00Z', '2026-10-25T01:00Z'],
  'America/New_York': ['2026-03-08T07:00Z', '2026-11-01T06:00Z'],
  'Australia/Lord_Howe': ['2026-04-04T15:00Z', '2026-10-03T15:30Z'],
  'Africa/Cairo': ['2026-04-23T22:00Z', '2026-10-29T21:00Z'],
  UTC: ['2026-02-28T12:00Z', '2026-12-31T12:00Z'],
} as const;

const HOUR_MS = 3_600_000;
const YEAR = { from: new Date('2026-01-01T00:00Z'), until: new Date('2027-01-01T00:00Z') };

/** One field of an expression: an asterisk, a number, a range, a step, or a list of these. */
function field(least: number, most: number): fc.Arbitrary<string> {
  const value = fc.integer({ min: least, max: most });
  const range = fc.tuple(value, value).map((ends) => ends.toSorted((a, b) => a - b).join('-'));
  const step = fc.integer({ min: 1, max: Math.max(1, most - least) });
  const part = fc.oneof(value.map(String), range);
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant('*') },
    { weight: 3, arbitrary: value.map(String) },
    { weight: 1, arbitrary: range },
    { weight: 1, arbitrary: step.map((by) => `*/${by}`) },
    { weight: 1, arbitrary: fc.tuple(range, step).map(([ends, by]) => `${ends}/${by}`) },
    { weight: 1, arbitrary: fc.array(part, { minLength: 2, maxLength: 3 }).map((p) => p.join()) },
  );
}

const dateFields = [field(1, 28), field(1, 12), field(0, 7)] as const;
const fiveFields = fc
  .tuple(field(0, 59), field(0, 23), ...dateFields)
  .map((fields) => fields.join(' '));
const sixFields = fc
  .tuple(field(0, 59), field(0, 59), field(0, 23), ...dateFields)
  .map((fields) => fields.join(' '));

/** The hours around each change of the clocks. */
function around(zone: keyof typeof ZONES, hours: number): Span[] {
  return ZONES[zone].map((change) => {
    const ms = Date.parse(change);
    return { from: new Date(ms - hours * HOUR_MS), until: new Date(ms + hours * HOUR_MS) };
  });
}

describe.each(Object.keys(ZONES) as Array<keyof typeof ZONES>)('In %s a timetable', (zone) => {
  /** Bounds what a run costs: an expression that matches every second has its first so many ticks compared. */
  const limit = 500;

  /** The ticks as the timetable and as a wall clock has them. */
  function both(expression: string, spans: readonly Span[]): [Date[], Date[]] {
    const timetable = Timetable.of(expression, zone);
    return [
      spans.flatMap((span) => timetable.ticks({ ...span, limit })),
      spans.flatMap((span) => wallClockTicks(expression, zone, span).slice(0, limit)),
    ];
  }

  it('has the ticks that a wall clock shows, where it changes (60 expressions of five fields)', () => {
    fc.assert(
      fc.property(fiveFields, (expression) => {
        const [found, shown] = both(expression, around(zone, 36));
        expect(found).toEqual(shown);
      }),
      { numRuns: 60 },
    );
  });

  it('has the ticks that a wall clock shows, where it changes (20 expressions of six fields)', () => {
    fc.assert(
      fc.property(sixFields, (expression) => {
        const [found, shown] = both(expression, around(zone, 2));
        expect(found).toEqual(shown);
      }),
      { numRuns: 20 },
    );
  });

  it.each(['30 2 * * *', '0 1,2,3 * * *', '15 */6 * * *', '0 0 1 * *', '45 1 * * SUN'])(
    'has the ticks that a wall clock shows, over a year: %s',
    (expression) => {
      const found = Timetable.of(expression, zone).ticks({ ...YEAR, limit: 10_000 });
      expect(found).toEqual(wallClockTicks(expression.replace('SUN', '0'), zone, YEAR));
      expect(found.length).toBeGreaterThan(10);
    },
  );

  it('has the same ticks backwards', () => {
    fc.assert(
      fc.property(fiveFields, (expression) => {
        const timetable = Timetable.of(expression, zone);
        for (const span of around(zone, 36)) {
          const forwards = timetable.ticks({ ...span, limit });
          const backwards = forwards.slice(1).map((tick) => timetable.previous(tick));
          expect(backwards).toEqual(forwards.slice(0, -1));
        }
      }),
      { numRuns: 20 },
    );
  });
});
