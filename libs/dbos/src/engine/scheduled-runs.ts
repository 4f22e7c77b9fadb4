/** The workflows that ticks become: one id for each tick, whoever fires it. */
import type { SerializerSet } from '../core/serialization/serializer.js';
import type { ScheduledRun, ScheduleRecord } from '../repository/schedule-repository.js';

export interface RunTerms {
  readonly serializers: SerializerSet;
  readonly nameOf: (workflowName: string) => string;
}

type Schedule = Pick<ScheduleRecord, 'name' | 'definition'>;

export interface Occurrence {
  readonly id: string;
  /** The workflow's first argument. */
  readonly tick: Date;
}

/** `sched-<name>-<ISO time>`. */
export function occurrence({ name }: Schedule, tick: Date): Occurrence {
  return { id: `sched-${name}-${tick.toISOString()}`, tick };
}

/**
 * @param nameOf the stored name of the version of a workflow that is run
 * @throws UnknownFormatError, UndecodableValueError when the stored input cannot be read here
 */
export function scheduledRuns(
  { name, definition }: Schedule,
  occurrences: readonly Occurrence[],
  { serializers, nameOf }: RunTerms,
): ScheduledRun[] {
  const input = definition.input ? [serializers.decode(definition.input)] : [];
  return occurrences.map(({ id, tick }) => ({
    id,
    workflowName: nameOf(definition.workflowName),
    input: serializers.encode([tick, ...input], `arguments of schedule "${name}"`),
  }));
}
