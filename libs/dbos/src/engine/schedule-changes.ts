/** A change of some settings of a schedule, checked before the schedule is read. */
import type { Duration } from '../core/duration.js';
import { assertIdentifier } from '../core/identifiers.js';
import { Timetable } from '../core/schedule-timetable.js';
import type { SerializerSet } from '../core/serialization/serializer.js';
import type { ScheduleDefinition } from '../repository/schedule-repository.js';
import {
  assertBackfill,
  encodeInput,
  timeoutMsOf,
  type DefinedSchedule,
  type ScheduleSpec,
} from './schedule-definition.js';

/** What is left out stays as it is. `null` takes the queue or the timeout away, `input: undefined` the input. */
export interface ScheduleChanges extends Partial<Omit<ScheduleSpec, 'name' | 'queue' | 'timeout'>> {
  readonly queue?: string | null;
  readonly timeout?: Duration | null;
}

type ChangedDefinition = Pick<DefinedSchedule, 'definition' | 'timetable'>;

/** @throws InvalidArgumentError, UnserializableValueError; what it returns throws InvalidScheduleError */
export function changedDefinition(
  name: string,
  changes: ScheduleChanges,
  serializers: SerializerSet,
): (definition: ScheduleDefinition) => ChangedDefinition {
  const { workflow, cron, timeZone, backfill, queue, timeout } = changes;
  const timeoutMs = timeoutMsOf(timeout);
  if (backfill !== undefined) assertBackfill(backfill);
  if (typeof queue === 'string') assertIdentifier('A queue name', queue);
  const input = encodeInput(name, changes.input, serializers);
  return (former) => {
    const definition = {
      workflowName: workflow ?? former.workflowName,
      cron: cron ?? former.cron,
      timeZone: timeZone ?? former.timeZone,
      backfill: backfill ?? former.backfill,
      queue: queue === undefined ? former.queue : queue,
      input: 'input' in changes ? input : former.input,
      timeoutMs: timeout === undefined ? former.timeoutMs : timeoutMs,
    };
    return { definition, timetable: Timetable.of(definition.cron, definition.timeZone) };
  };
}
