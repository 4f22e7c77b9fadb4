/** What can go wrong with schedules, in the manner of `errors.ts`. */
import { DbosError } from './errors.js';

export type CronField = 'second' | 'minute' | 'hour' | 'day of month' | 'month' | 'day of week';

/** Where the reason lies that a schedule cannot be used. */
export interface ScheduleFault {
  readonly part: 'cron' | 'timeZone';
  /** The part of the cron expression, where one is to blame. */
  readonly field?: CronField;
  /** In the cron expression; its first character has 1. */
  readonly position?: number;
}

/** A cron expression or a time zone that cannot be used. */
export class InvalidScheduleError extends DbosError {
  readonly code = 'DBOS_INVALID_SCHEDULE';

  constructor(
    message: string,
    readonly fault: ScheduleFault,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** No schedule has this name. */
export class ScheduleNotFoundError extends DbosError {
  readonly code = 'DBOS_SCHEDULE_NOT_FOUND';

  constructor(readonly scheduleName: string) {
    super(`There is no schedule named "${scheduleName}".`);
  }
}

/** The name belongs to another schedule. */
export class ScheduleExistsError extends DbosError {
  readonly code = 'DBOS_SCHEDULE_EXISTS';

  /** @param owner whose it is: `declared in the code`, say */
  constructor(
    readonly scheduleName: string,
    owner: string,
  ) {
    super(
      `There is a schedule named "${scheduleName}" already, ${owner}. Choose another name, or update that one.`,
    );
  }
}

/** Others kept changing the schedule while it was to be changed. Nothing was written. */
export class ScheduleChangedError extends DbosError {
  readonly code = 'DBOS_SCHEDULE_CHANGED';

  constructor(readonly scheduleName: string) {
    super(`Schedule "${scheduleName}" was changed by others at the same time. Try again.`);
  }
}
