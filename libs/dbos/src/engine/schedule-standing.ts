/** Inputs of schedules that stand already: to an encryption each writing of one is another text. */
import { isDeepStrictEqual } from 'node:util';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { NewSchedule, ScheduleDefinition } from '../repository/schedule-repository.js';
import type { OutcomeCodec } from './outcome.js';

/** With what stands in the place of an equal input, so that a schedule that is written again is none that was changed. */
export async function withStandingInputs(
  schedules: readonly NewSchedule[],
  {
    repository,
    codec,
  }: { readonly repository: CheckpointRepository; readonly codec: OutcomeCodec },
): Promise<NewSchedule[]> {
  if (!codec.serializers.hasCodecs) return [...schedules];
  return Promise.all(
    schedules.map(async (given) => {
      if (!given.definition.input) return given;
      const standing = await repository.schedules.find(given.name);
      const definition =
        standing && withStanding(given.definition, standing.schedule.definition, codec);
      return definition ? { ...given, definition } : given;
    }),
  );
}

/** Whether both say the same. */
export function isSameDefinition(
  given: ScheduleDefinition,
  standing: ScheduleDefinition,
  codec: OutcomeCodec,
): boolean {
  return isDeepStrictEqual(withStanding(given, standing, codec), standing);
}

function withStanding(
  given: ScheduleDefinition,
  { input: standing }: ScheduleDefinition,
  { serializers }: OutcomeCodec,
): ScheduleDefinition {
  const isSame = given.input && standing && serializers.isSame(standing, given.input);
  return isSame ? { ...given, input: standing } : given;
}
