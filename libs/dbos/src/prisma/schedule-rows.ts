/** Rows of schedules as records, and definitions as columns. */
import type { MissedTicks } from '../core/schedule-ticks.js';
import type {
  NewSchedule,
  ScheduledRun,
  ScheduleDefinition,
  ScheduleRecord,
} from '../repository/schedule-repository.js';
import { encoded } from './rows.js';

export interface DefinitionRow {
  workflowName: string;
  cron: string;
  timeZone: string;
  backfill: MissedTicks;
  queue: string | null;
  serialization: string | null;
  input: string | null;
  timeoutMs: number | null;
}

export type ScheduleRow = DefinitionRow & Omit<ScheduleRecord, 'definition'>;

export function scheduleOf(row: ScheduleRow): ScheduleRecord {
  const { name, declared, setName, paused, retiredAt, revision } = row;
  const { nextTickAt, lastTickAt, createdAt, updatedAt } = row;
  return {
    name,
    definition: definitionOf(row),
    declared,
    setName,
    paused,
    retiredAt,
    revision,
    nextTickAt,
    lastTickAt,
    createdAt,
    updatedAt,
  };
}

export function definitionOf(row: DefinitionRow): ScheduleDefinition {
  const { workflowName, cron, timeZone, backfill, queue, serialization, timeoutMs } = row;
  const input = encoded(row.input, serialization);
  return { workflowName, cron, timeZone, backfill, queue, input, timeoutMs };
}

/** For `jsonb_to_recordset`. */
export function columnsOf({ name, definition, nextTickAt }: NewSchedule): Record<string, unknown> {
  return {
    name,
    workflow_name: definition.workflowName,
    cron: definition.cron,
    time_zone: definition.timeZone,
    backfill: definition.backfill,
    queue: definition.queue,
    serialization: definition.input?.format,
    input: definition.input?.text,
    timeout_ms: definition.timeoutMs,
    next_tick_at: nextTickAt,
  };
}

/** For `jsonb_to_recordset`. */
export function runColumnsOf(
  schedule: string,
  { id, workflowName, input }: ScheduledRun,
): Record<string, unknown> {
  return {
    schedule,
    id,
    workflow_name: workflowName,
    serialization: input.format,
    input: input.text,
  };
}
