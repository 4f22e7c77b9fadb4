/** Schedules in PostgreSQL. A tick is fired by one statement: whoever moves the schedule on enqueues the workflow. */
import type {
  AppliedSet,
  Declaration,
  DueSchedules,
  DueSearch,
  Enqueueing,
  Firing,
  NewSchedule,
  Resumption,
  ScheduleRecord,
  ScheduleRepository,
} from '../repository/schedule-repository.js';
import type { Database } from './database.js';
import {
  columnsOf,
  definitionOf,
  runColumnsOf,
  scheduleOf,
  type DefinitionRow,
  type ScheduleRow,
} from './schedule-rows.js';

interface Named {
  readonly name: string;
}

interface DueRow extends DefinitionRow {
  readonly databaseNow: Date;
  readonly nextDueInMs: number | null;
  /** Null in the one row that comes when nothing is due. */
  readonly name: string | null;
  readonly revision: number;
  readonly nextTickAt: Date;
}

export class PrismaScheduleRepository implements ScheduleRepository {
  constructor(private readonly database: Database) {}

  async create({ name, definition, nextTickAt }: NewSchedule): Promise<boolean> {
    const { workflowName, cron, timeZone, backfill, queue, input, timeoutMs } = definition;
    const created = await this.database.query<Named>(
      (client) => client.$queryRaw`
        INSERT INTO dbos.schedules (name, workflow_name, cron, time_zone, backfill, queue, serialization, input,
                                    timeout_ms, next_tick_at)
        VALUES (${name}, ${workflowName}, ${cron}, ${timeZone}, ${backfill}, ${queue}::text,
                ${input?.format ?? null}::text, ${input?.text ?? null}::text, ${timeoutMs}::float8,
                ${nextTickAt ?? null}::timestamptz)
            ON CONFLICT (name) DO NOTHING
        RETURNING name`,
    );
    return created.length > 0;
  }

  async find(name: string): Promise<{ schedule: ScheduleRecord; databaseNow: Date } | undefined> {
    const [row] = await this.database.query<ScheduleRow & { databaseNow: Date }>(
      (client) => client.$queryRaw`
        SELECT name, workflow_name AS "workflowName", cron, time_zone AS "timeZone", backfill, queue, serialization,
               input, timeout_ms AS "timeoutMs", declared, set_name AS "setName", paused,
               retired_at AS "retiredAt", revision,
               next_tick_at AS "nextTickAt", last_tick_at AS "lastTickAt", created_at AS "createdAt",
               updated_at AS "updatedAt", clock_timestamp() AS "databaseNow"
          FROM dbos.schedules
         WHERE name = ${name}`,
    );
    return row && { schedule: scheduleOf(row), databaseNow: row.databaseNow };
  }

  async list({ after, limit }: { after: string; limit: number }): Promise<ScheduleRecord[]> {
    const rows = await this.database.query<ScheduleRow>(
      (client) => client.$queryRaw`
        SELECT name, workflow_name AS "workflowName", cron, time_zone AS "timeZone", backfill, queue, serialization,
               input, timeout_ms AS "timeoutMs", declared, set_name AS "setName", paused,
               retired_at AS "retiredAt", revision,
               next_tick_at AS "nextTickAt", last_tick_at AS "lastTickAt", created_at AS "createdAt",
               updated_at AS "updatedAt"
          FROM dbos.schedules
         WHERE name > ${after}
         ORDER BY name
         LIMIT ${limit}`,
    );
    return rows.map(scheduleOf);
  }

  async change(schedule: NewSchedule & { revision: number }): Promise<boolean> {
    const { name, revision, definition, nextTickAt } = schedule;
    const { workflowName, cron, timeZone, backfill, queue, input, timeoutMs } = definition;
    const changed = await this.database.query<Named>(
      (client) => client.$queryRaw`
        UPDATE dbos.schedules
           SET workflow_name = ${workflowName}, cron = ${cron}, time_zone = ${timeZone}, backfill = ${backfill},
               queue = ${queue}::text, serialization = ${input?.format ?? null}::text,
               input = ${input?.text ?? null}::text, timeout_ms = ${timeoutMs}::float8, revision = revision + 1,
               updated_at = now(),
               next_tick_at = CASE WHEN paused OR retired_at IS NOT NULL THEN NULL
                                   WHEN (cron, time_zone) = (${cron}, ${timeZone}) THEN next_tick_at
                                   ELSE ${nextTickAt ?? null}::timestamptz END
         WHERE name = ${name} AND revision = ${revision}
        RETURNING name`,
    );
    return changed.length > 0;
  }

  async pause(name: string): Promise<boolean> {
    const paused = await this.database.query<Named>(
      (client) => client.$queryRaw`
        UPDATE dbos.schedules
           SET paused = true, next_tick_at = NULL, updated_at = now()
         WHERE name = ${name}
        RETURNING name`,
    );
    return paused.length > 0;
  }

  async resume({ name, revision, nextTickAt }: Resumption): Promise<boolean> {
    const resumed = await this.database.query<Named>(
      (client) => client.$queryRaw`
        UPDATE dbos.schedules
           SET paused = false, next_tick_at = ${nextTickAt ?? null}::timestamptz, updated_at = now()
         WHERE name = ${name} AND revision = ${revision} AND paused
        RETURNING name`,
    );
    return resumed.length > 0;
  }

  async delete(name: string): Promise<boolean> {
    const deleted = await this.database.query<Named>(
      (client) => client.$queryRaw`DELETE FROM dbos.schedules WHERE name = ${name} RETURNING name`,
    );
    return deleted.length > 0;
  }

  async applySet(setName: string, schedules: readonly NewSchedule[]): Promise<AppliedSet> {
    const given = JSON.stringify(schedules.map(columnsOf));
    const rows = await this.database.query<Named & { state: 'taken' | 'deleted' }>(
      (client) => client.$queryRaw`
        WITH given AS (
          SELECT *
            FROM jsonb_to_recordset(${given}::jsonb) AS given(
                   name text, workflow_name text, cron text, time_zone text, backfill text, queue text,
                   serialization text, input text, timeout_ms float8, next_tick_at timestamptz)
        ), taken AS (
          SELECT s.name
            FROM dbos.schedules s
            JOIN given ON given.name = s.name
           WHERE s.set_name IS DISTINCT FROM ${setName}
        ), deleted AS (
          DELETE FROM dbos.schedules s
           WHERE s.set_name = ${setName} AND s.name NOT IN (SELECT name FROM given)
             AND NOT EXISTS (SELECT FROM taken)
          RETURNING s.name
        ), written AS (
          INSERT INTO dbos.schedules AS s (name, workflow_name, cron, time_zone, backfill, queue, serialization, input,
                                           timeout_ms, set_name, next_tick_at)
          SELECT name, workflow_name, cron, time_zone, backfill, queue, serialization, input, timeout_ms, ${setName},
                 next_tick_at
            FROM given
           WHERE NOT EXISTS (SELECT FROM taken)
           ORDER BY name
              ON CONFLICT (name) DO UPDATE
             SET workflow_name = EXCLUDED.workflow_name, cron = EXCLUDED.cron, time_zone = EXCLUDED.time_zone,
                 backfill = EXCLUDED.backfill, queue = EXCLUDED.queue, serialization = EXCLUDED.serialization,
                 input = EXCLUDED.input, timeout_ms = EXCLUDED.timeout_ms, updated_at = now(),
                 revision = s.revision
                   + CASE WHEN (s.workflow_name, s.cron, s.time_zone, s.backfill, s.queue, s.serialization, s.input,
                                s.timeout_ms)
                               IS DISTINCT FROM (EXCLUDED.workflow_name, EXCLUDED.cron, EXCLUDED.time_zone,
                                                 EXCLUDED.backfill, EXCLUDED.queue, EXCLUDED.serialization,
                                                 EXCLUDED.input, EXCLUDED.timeout_ms)
                          THEN 1 ELSE 0 END,
                 next_tick_at = CASE WHEN s.paused THEN NULL
                                     WHEN (s.cron, s.time_zone) = (EXCLUDED.cron, EXCLUDED.time_zone)
                                     THEN s.next_tick_at
                                     ELSE EXCLUDED.next_tick_at END
           WHERE s.set_name = EXCLUDED.set_name -- not where another has taken the name since the snapshot
          RETURNING s.name
        )
        SELECT name, 'taken' AS state FROM taken
         UNION ALL
        SELECT name, 'taken' FROM given
         WHERE NOT EXISTS (SELECT FROM taken) AND name NOT IN (SELECT name FROM written)
         UNION ALL
        SELECT name, 'deleted' FROM deleted`,
    );
    const named = (state: string): string[] =>
      rows.filter((row) => row.state === state).map(({ name }) => name);
    return { taken: named('taken'), deleted: named('deleted') };
  }

  async declare({ schedules, workflowNames }: Declaration): Promise<string[]> {
    const given = JSON.stringify(schedules.map(columnsOf));
    const retired = await this.database.query<Named>(
      (client) => client.$queryRaw`
        WITH given AS (
          SELECT *
            FROM jsonb_to_recordset(${given}::jsonb) AS given(
                   name text, workflow_name text, cron text, time_zone text, backfill text, queue text,
                   serialization text, input text, timeout_ms float8, next_tick_at timestamptz)
        ), retired AS (
          UPDATE dbos.schedules s
             SET retired_at = now(), next_tick_at = NULL, updated_at = now()
           WHERE s.declared AND s.retired_at IS NULL AND s.workflow_name = ANY(${[...workflowNames]}::text[])
             AND s.name NOT IN (SELECT name FROM given)
          RETURNING s.name
        ), written AS (
          INSERT INTO dbos.schedules AS s (name, workflow_name, cron, time_zone, backfill, queue, serialization, input,
                                           timeout_ms, declared, next_tick_at)
          SELECT name, workflow_name, cron, time_zone, backfill, queue, serialization, input, timeout_ms, true,
                 next_tick_at
            FROM given
           ORDER BY name
              ON CONFLICT (name) DO UPDATE
             SET workflow_name = EXCLUDED.workflow_name, cron = EXCLUDED.cron, time_zone = EXCLUDED.time_zone,
                 backfill = EXCLUDED.backfill, queue = EXCLUDED.queue, serialization = EXCLUDED.serialization,
                 input = EXCLUDED.input, timeout_ms = EXCLUDED.timeout_ms, declared = true, set_name = NULL,
                 retired_at = NULL, revision = s.revision + 1, updated_at = now(),
                 next_tick_at = CASE WHEN s.paused THEN NULL
                                     WHEN s.retired_at IS NULL
                                          AND (s.cron, s.time_zone) = (EXCLUDED.cron, EXCLUDED.time_zone)
                                     THEN s.next_tick_at
                                     ELSE EXCLUDED.next_tick_at END
           WHERE (s.workflow_name, s.cron, s.time_zone, s.backfill, s.queue, s.serialization, s.input, s.timeout_ms,
                  s.declared, s.set_name, s.retired_at)
                 IS DISTINCT FROM (EXCLUDED.workflow_name, EXCLUDED.cron, EXCLUDED.time_zone, EXCLUDED.backfill,
                                   EXCLUDED.queue, EXCLUDED.serialization, EXCLUDED.input, EXCLUDED.timeout_ms,
                                   EXCLUDED.declared, EXCLUDED.set_name, EXCLUDED.retired_at)
        )
        SELECT name FROM retired ORDER BY name`,
    );
    return retired.map(({ name }) => name);
  }

  async due({ workflowNames, except, limit }: DueSearch): Promise<DueSchedules> {
    // The left join gives one row without a schedule when nothing is due: it has the time of the next one.
    const rows = await this.database.query<DueRow>(
      (client) => client.$queryRaw`
        SELECT clock.now AS "databaseNow", clock.next_due_in_ms AS "nextDueInMs", s.name, s.revision,
               s.workflow_name AS "workflowName", s.cron, s.time_zone AS "timeZone", s.backfill, s.queue,
               s.serialization, s.input, s.timeout_ms AS "timeoutMs", s.next_tick_at AS "nextTickAt"
          FROM (SELECT now() AS now, extract(epoch FROM min(next_tick_at) - now())::float8 * 1000 AS next_due_in_ms
                  FROM dbos.schedules
                 WHERE next_tick_at > now() AND workflow_name = ANY(${[...workflowNames]}::text[])) AS clock
          LEFT JOIN dbos.schedules s
            ON s.next_tick_at <= clock.now AND s.workflow_name = ANY(${[...workflowNames]}::text[])
               AND s.name <> ALL(${[...except]}::text[])
         ORDER BY s.next_tick_at
         LIMIT ${limit}`,
    );
    return {
      databaseNow: rows[0]?.databaseNow ?? new Date(),
      nextDueInMs: rows[0]?.nextDueInMs ?? null,
      due: rows.flatMap((row) => {
        const { name, revision, nextTickAt } = row;
        return name === null ? [] : [{ name, definition: definitionOf(row), revision, nextTickAt }];
      }),
    };
  }

  async fire(firings: readonly Firing[]): Promise<string[]> {
    const given = JSON.stringify(firings.map(firingColumnsOf));
    const runs = JSON.stringify(
      firings.flatMap((firing) => firing.runs.map((run) => runColumnsOf(firing.name, run))),
    );
    // SKIP LOCKED: who holds the row is firing it, or changing it so that these ticks are no longer its own.
    // A tick counts in milliseconds, all that a Date can hold, were it set by hand.
    const moved = await this.database.once<Named>(
      (client) => client.$queryRaw`
        WITH given AS (
          SELECT *
            FROM jsonb_to_recordset(${given}::jsonb) AS given(
                   name text, revision integer, expected_tick_at timestamptz, next_tick_at timestamptz,
                   last_tick_at timestamptz)
        ), expected AS (
          SELECT s.name, given.next_tick_at, given.last_tick_at
            FROM dbos.schedules s
            JOIN given ON given.name = s.name
           WHERE date_trunc('milliseconds', s.next_tick_at) = given.expected_tick_at
             AND s.revision = given.revision
             FOR NO KEY UPDATE OF s SKIP LOCKED
        ), moved AS (
          UPDATE dbos.schedules s
             SET next_tick_at = expected.next_tick_at, last_tick_at = coalesce(expected.last_tick_at, s.last_tick_at)
            FROM expected
           WHERE s.name = expected.name
          RETURNING s.name, s.queue, s.timeout_ms
        ), enqueued AS (
          INSERT INTO dbos.workflows (id, name, status, queue, serialization, input, timeout_ms)
          SELECT run.id, run.workflow_name, 'ENQUEUED', moved.queue, run.serialization, run.input, moved.timeout_ms
            FROM jsonb_to_recordset(${runs}::jsonb) AS run(
                   schedule text, id text, workflow_name text, serialization text, input text)
            JOIN moved ON moved.name = run.schedule
           ORDER BY run.id
              ON CONFLICT (id) DO NOTHING
        )
        SELECT name FROM moved`,
    );
    return moved.map(({ name }) => name);
  }

  async enqueue({ name, runs }: Enqueueing): Promise<boolean> {
    const given = JSON.stringify(runs.map((run) => runColumnsOf(name, run)));
    const found = await this.database.query<Named>(
      (client) => client.$queryRaw`
        WITH schedule AS (
          SELECT name, queue, timeout_ms FROM dbos.schedules WHERE name = ${name}
        ), enqueued AS (
          INSERT INTO dbos.workflows (id, name, status, queue, serialization, input, timeout_ms)
          SELECT run.id, run.workflow_name, 'ENQUEUED', schedule.queue, run.serialization, run.input, schedule.timeout_ms
            FROM jsonb_to_recordset(${given}::jsonb) AS run(
                   schedule text, id text, workflow_name text, serialization text, input text)
            JOIN schedule ON schedule.name = run.schedule
           ORDER BY run.id
              ON CONFLICT (id) DO NOTHING
        )
        SELECT name FROM schedule`,
    );
    return found.length > 0;
  }
}

/** For `jsonb_to_recordset`. */
function firingColumnsOf(firing: Firing): Record<string, unknown> {
  return {
    name: firing.name,
    revision: firing.revision,
    expected_tick_at: firing.expectedTickAt,
    next_tick_at: firing.nextTickAt,
    last_tick_at: firing.lastTickAt,
  };
}
