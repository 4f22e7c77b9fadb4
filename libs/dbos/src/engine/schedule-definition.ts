/** What is asked of a schedule, checked, with its defaults filled in. */
import type { Duration } from '../core/duration.js';
import { InvalidArgumentError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { MISSED_TICKS, type MissedTicks } from '../core/schedule-ticks.js';
import { Timetable } from '../core/schedule-timetable.js';
import type { EncodedValue, SerializerSet } from '../core/serialization/serializer.js';
import { timeLimitOf } from '../core/time-limit.js';
import type { QueueRegistry } from './queue-registry.js';
import type { NewSchedule, ScheduleDefinition } from '../repository/schedule-repository.js';

export interface ScheduleOptions {
  /** IANA name of the time zone in which the cron expression is meant, such as `Europe/Berlin`. Default `UTC`. */
  readonly timeZone?: string;
  /**
   * What becomes of ticks that were missed, which are those more than a minute late: `skip` forgets them, `latest` makes
   * up for the last of them, `all` for each. Default `skip`.
   */
  readonly backfill?: MissedTicks;
  /** Name of the queue on which the workflows wait; it must not be partitioned. Default: none. */
  readonly queue?: string;
  /** Given to the workflow as its second argument. Default: none. */
  readonly input?: unknown;
  /** Longest time of each of its workflows, from its claim to its end; then it is CANCELLED. Default: none. */
  readonly timeout?: Duration;
}

export interface ScheduleSpec extends ScheduleOptions {
  /** Unique in the database; part of the ids of its workflows. 1 to 200 printable characters. */
  readonly name: string;
  /** Name of the workflow, which this application must register. */
  readonly workflow: string;
  /** Five fields (minute, hour, day of month, month, day of week), or six with seconds first. */
  readonly cron: string;
}

/** Longest name: with the prefix and the tick it makes an id. */
const MAX_NAME_LENGTH = 200;

export interface DefinedSchedule {
  readonly name: string;
  readonly definition: ScheduleDefinition;
  readonly timetable: Timetable;
}

/** @throws InvalidArgumentError, InvalidScheduleError, UnserializableValueError */
export function defineSchedule(spec: ScheduleSpec, serializers: SerializerSet): DefinedSchedule {
  const timetable = checkSchedule(spec);
  const { name, workflow: workflowName, cron, timeZone = 'UTC', backfill = 'skip' } = spec;
  const queue = spec.queue ?? null;
  const input = encodeInput(name, spec.input, serializers);
  const timeoutMs = timeoutMsOf(spec.timeout);
  const definition = { workflowName, cron, timeZone, backfill, queue, input, timeoutMs };
  return { name, timetable, definition };
}

/** As it begins: with the first tick that is to come. */
export function newSchedule(defined: DefinedSchedule, databaseNow: Date): NewSchedule {
  const { name, definition, timetable } = defined;
  return { name, definition, nextTickAt: timetable.next(databaseNow) };
}

/** All that can be checked before values can be encoded. @throws InvalidArgumentError, InvalidScheduleError */
export function checkSchedule(spec: Omit<ScheduleSpec, 'workflow' | 'input'>): Timetable {
  assertScheduleName(spec.name);
  if (spec.backfill !== undefined) assertBackfill(spec.backfill);
  if (spec.queue !== undefined) assertIdentifier('A queue name', spec.queue);
  timeoutMsOf(spec.timeout);
  return Timetable.of(spec.cron, spec.timeZone ?? 'UTC');
}

export function assertScheduleName(name: unknown): string {
  const identifier = assertIdentifier('A schedule name', name);
  if (identifier.length <= MAX_NAME_LENGTH) return identifier;
  throw new InvalidArgumentError(
    `A schedule name is ${identifier.length} characters long. Use at most ${MAX_NAME_LENGTH}.`,
  );
}

export function assertBackfill(backfill: unknown): void {
  if (MISSED_TICKS.some((policy) => policy === backfill)) return;
  throw new InvalidArgumentError(
    `backfill must be 'skip', 'latest' or 'all', not ${JSON.stringify(backfill)}.`,
  );
}

/** @throws UnknownQueueError, InvalidArgumentError for a partitioned one: a schedule has no partition */
export function assertScheduleQueue(queues: QueueRegistry, name: string | null | undefined): void {
  if (name === null || name === undefined) return;
  if (!queues.get(name).limits.partition) return;
  throw new InvalidArgumentError(
    `Queue "${name}" is partitioned, and the workflows of a schedule have no partition. Use another queue.`,
  );
}

/** @throws InvalidArgumentError */
export function timeoutMsOf(timeout: Duration | null | undefined): number | null {
  return timeLimitOf({ timeout: timeout ?? null }, undefined).timeoutMs ?? null;
}

export function encodeInput(
  name: string,
  input: unknown,
  serializers: SerializerSet,
): EncodedValue | null {
  return input === undefined ? null : serializers.encode(input, `input of schedule "${name}"`);
}
