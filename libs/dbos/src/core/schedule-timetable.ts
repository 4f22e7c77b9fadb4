/**
 * The moments that a cron expression names in a time zone. croner finds them; what it does where clocks are put forward
 * or back is described in `docs/schedules.md` and held by this file's tests.
 */
import { Cron } from 'croner';
import { InvalidScheduleError } from './schedule-errors.js';
import { assertCron, PATTERN_OPTIONS } from './schedule-fault.js';
import { shown } from './shown.js';

export interface TickRange {
  /** Inclusive. */
  readonly from: Date;
  /** Exclusive. */
  readonly until: Date;
  /** Most ticks to return, the earliest first. */
  readonly limit: number;
}

/** Every date that a calendar can show comes again within 400 years of it. */
const EPOCH = new Date('2000-01-01T00:00:00Z');

export class Timetable {
  private constructor(private readonly cron: Cron) {}

  /**
   * @param expression five fields, or six with seconds first, in croner's syntax, or a nickname such as `@daily`
   * @param timeZone an IANA name such as `Europe/Berlin`, or `UTC`
   * @throws InvalidScheduleError that says what is wrong and where, also for dates that never come
   */
  static of(expression: string, timeZone: string): Timetable {
    assertCron(expression);
    assertTimeZone(timeZone);
    // Times without an asterisk or a step are times of day: in a gap they come after it, in an overlap once.
    const cron = new Cron(expression, {
      ...PATTERN_OPTIONS,
      timezone: timeZone,
      fixedTimeRule: 'no-wildcard',
    });
    const timetable = new Timetable(cron);
    if (timetable.next(EPOCH)) return timetable;
    throw new InvalidScheduleError(
      `Cron expression "${expression}" names a date that never comes.`,
      { part: 'cron' },
    );
  }

  /** The first tick after a moment; undefined beyond the year 9999. */
  next(after: Date): Date | undefined {
    return this.cron.nextRun(after) ?? undefined;
  }

  /** The last tick before a moment. */
  previous(before: Date): Date | undefined {
    return this.cron.previousRuns(1, before)[0];
  }

  ticks({ from, until, limit }: TickRange): Date[] {
    const ticks: Date[] = [];
    let tick = this.next(new Date(from.getTime() - 1));
    while (tick && tick < until && ticks.length < limit) {
      ticks.push(tick);
      tick = this.next(tick);
    }
    return ticks;
  }
}

/** Not the spans such as `+02:00` that newer versions of Node take as well: they know no summer. */
const LOOKS_LIKE_A_NAME = /^[A-Za-z]/;

function assertTimeZone(timeZone: unknown): void {
  try {
    if (typeof timeZone !== 'string' || !LOOKS_LIKE_A_NAME.test(timeZone)) throw new RangeError();
    void new Intl.DateTimeFormat('en', { timeZone });
  } catch (cause) {
    throw new InvalidScheduleError(
      `Time zone "${shown(timeZone)}" is not known here. Use an IANA name such as "Europe/Berlin", or "UTC".`,
      { part: 'timeZone' },
      { cause },
    );
  }
}
