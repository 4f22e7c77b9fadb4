/** `@Scheduled()` marks a workflow with the times at which it is started by itself. */
import { checkSchedule, type ScheduleOptions } from '../engine/schedule-definition.js';
import { markPlace } from './mark-place.js';

export interface ScheduledOptions<I = unknown> extends ScheduleOptions {
  /** Unique in the database; part of the ids of its workflows. Default: `Class.method`. */
  readonly name?: string;
  readonly input?: I;
}

export interface ScheduleMark extends ScheduledOptions {
  readonly cron: string;
}

/** A method that can be given the tick's time and the input. */
type ScheduledMethod<I> = (tick: Date, input: I) => unknown;

type ScheduledDecorator<I> = <M extends ScheduledMethod<I>>(
  target: object,
  property: string | symbol,
  descriptor: TypedPropertyDescriptor<M>,
) => void;

const SCHEDULES = Symbol('nestjs-dbos:schedules');

/**
 * Starts a `@Workflow()` at the times that a cron expression names: once for each, however many processes there are. Its
 * arguments are the time of the tick and, if there is one, the `input`. A method may have several, each with a name.
 *
 * Written at the launch: a change takes effect then, a pause made at run time stays. Once the code declares it no more,
 * it rests.
 * @param cron five fields (minute, hour, day of month, month, day of week), or six with seconds first
 * @throws InvalidScheduleError, InvalidArgumentError at once for what cannot be used
 *
 * @example
 * ```ts
 * \@Workflow()
 * \@Scheduled('0 3 * * *', { timeZone: 'Europe/Berlin', backfill: 'latest' })
 * async nightly(tick: Date): Promise<void> { … }
 * ```
 */
export function Scheduled<I = undefined>(
  cron: string,
  options: ScheduledOptions<I> = {},
): ScheduledDecorator<I> {
  return (target, property, descriptor) => {
    const place = markPlace('@Scheduled()', { target, property, descriptor });
    checkSchedule({ ...options, cron, name: options.name ?? place });
    const mark: ScheduleMark = { ...options, cron };
    const marks = scheduleMarks(target, String(property)) ?? [];
    Reflect.defineMetadata(SCHEDULES, [...marks, mark], target, property);
  };
}

/** The schedules of a method that this prototype itself defines. */
export function scheduleMarks(owner: object, method: string): readonly ScheduleMark[] | undefined {
  return Reflect.getOwnMetadata(SCHEDULES, owner, method) as readonly ScheduleMark[] | undefined;
}
