/** Hands the schedules with which methods are marked to the engine. */
import { RegistrationError } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import type { MarkedMethod } from './marked-methods.js';

/** @throws RegistrationError for a schedule of what is no workflow */
export function assertScheduledWorkflows(marked: readonly MarkedMethod[]): void {
  const stray = marked.find(({ marks }) => marks.schedules && !marks.workflow);
  if (!stray) return;
  throw new RegistrationError(
    `${stray.place} is marked with @Scheduled(), but is not a workflow. Mark it with @Workflow() as well: each tick ` +
      'starts one.',
  );
}

/** The workflows have been registered. */
export function declareSchedules({ schedules }: Engine, marked: readonly MarkedMethod[]): void {
  for (const { place, marks } of marked) {
    for (const { name = place, ...mark } of marks.schedules ?? [])
      schedules.declared.add({ ...mark, name, workflow: marks.workflow?.name ?? place }, place);
  }
}
