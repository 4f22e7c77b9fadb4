/** Lists and counts of workflows in PostgreSQL: `dbos.match_workflows` finds, the rest is looked up by id. */
import type { WorkflowStatus } from '../core/status.js';
import type {
  CountLook,
  ListedWorkflow,
  ListingLook,
  ListingRepository,
  Looked,
  StepCountLook,
  StepGroup,
  WorkflowFilter,
  WorkflowGroup,
} from '../repository/listing-repository.js';
import type { Database } from './database.js';
import { encoded } from './rows.js';

/** Workflows of each status that one statement looks at, or that it takes from an index: a few milliseconds. */
const MAX_LOOK = 2_000;
/** Workflows of each status, and steps, that one statement counts steps of: of one workflow there may be more. */
const MAX_STEP_LOOK = { workflows: 500, steps: 5_000 } as const;
/** A look finds no more than it looks at. */
const ALL_OF_A_LOOK = 20_000;

interface ListedRow extends Omit<ListedWorkflow, 'input' | 'output' | 'error'> {
  readonly reached: string | null;
  readonly serialization: string;
  readonly outcomeSerialization: string | null;
  readonly input: string | null;
  readonly output: string | null;
  readonly error: string | null;
}

type GroupRow = WorkflowGroup & { readonly reached: string | null };
type StepGroupRow = StepGroup & { readonly reached: string | null };

export class PrismaListingRepository implements ListingRepository {
  constructor(private readonly database: Database) {}

  async list(look: ListingLook): Promise<Looked<ListedWorkflow>> {
    const { filter, order, after, limit, loadInput, loadOutput } = look;
    const rows = await this.database.query<ListedRow | { id: null; reached: string | null }>(
      (client) => client.$queryRaw`
        WITH page AS MATERIALIZED (
          SELECT ids, reached::text
            FROM dbos.match_workflows(${filterRow(filter)}::json, ${order === 'newest'}::boolean,
                                      ${startOf(order, after)}::bigint,
                                      ${Math.min(look.breadth, MAX_LOOK)}::integer, ${MAX_LOOK}::integer,
                                      ${limit}::integer)
        )
        SELECT page.reached, w.id, w.name, w.status, w.executor_id AS "executorId", w.epoch,
               w.recovery_attempts AS "recoveryAttempts", w.failures, w.queue, w.priority,
               w.partition_key AS "partitionKey", w.deduplication_id AS "deduplicationId",
               w.parent_id AS "parentId", w.application_version AS "applicationVersion", w.attributes,
               w.serialization, w.outcome_serialization AS "outcomeSerialization",
               CASE WHEN ${loadInput}::boolean THEN w.input END AS input,
               CASE WHEN ${loadOutput}::boolean THEN w.output END AS output, w.error,
               w.wake_at AS "wakeAt", w.timeout_ms AS "timeoutMs", w.deadline, w.cancel_reason AS "cancelReason",
               w.forked_from AS "forkedFrom", w.created_at AS "createdAt", w.started_at AS "startedAt",
               w.completed_at AS "completedAt", w.updated_at AS "updatedAt", w.seq::text AS seq
          FROM page
          LEFT JOIN LATERAL unnest(page.ids) WITH ORDINALITY AS picked(id, place) ON true
          LEFT JOIN LATERAL (SELECT * FROM dbos.workflows found WHERE found.id = picked.id LIMIT 1) AS w ON true
         ORDER BY picked.place`,
    );
    return {
      reached: rows[0]?.reached ?? undefined,
      found: rows.flatMap((row) => (row.id === null ? [] : [listedWorkflow(row)])),
    };
  }

  async count(look: CountLook): Promise<Looked<WorkflowGroup>> {
    const { filter, after, bucketMs } = look;
    const groupBy = [...look.groupBy];
    const rows = await this.database.query<GroupRow>(
      (client) => client.$queryRaw`
        WITH page AS MATERIALIZED (
          SELECT ids, reached::text
            FROM dbos.match_workflows(${filterRow(filter)}::json, true, ${startOf('newest', after)}::bigint,
                                      ${MAX_LOOK}::integer, ${MAX_LOOK}::integer, ${ALL_OF_A_LOOK}::integer)
        ), asked AS (
          SELECT ${groupBy}::text[] AS groups, ${bucketMs ?? null}::float8 * interval '1 millisecond' AS width
        )
        SELECT page.reached,
               CASE WHEN 'status' = ANY (asked.groups) THEN w.status END AS status,
               CASE WHEN 'name' = ANY (asked.groups) THEN w.name END AS name,
               CASE WHEN 'queue' = ANY (asked.groups) THEN w.queue END AS queue,
               CASE WHEN 'executorId' = ANY (asked.groups) THEN w.executor_id END AS "executorId",
               CASE WHEN 'applicationVersion' = ANY (asked.groups) THEN w.application_version
                    END AS "applicationVersion",
               date_bin(asked.width, w.created_at, timestamptz 'epoch') AS bucket,
               count(w.id)::int AS count, min(w.created_at) AS oldest, max(w.created_at) AS newest,
               extract(epoch FROM max(w.started_at - w.created_at))::float8 * 1000 AS "longestWaitMs",
               extract(epoch FROM max(w.completed_at - w.created_at))::float8 * 1000 AS "longestMs"
          FROM page
         CROSS JOIN asked
          LEFT JOIN LATERAL unnest(page.ids) AS picked(id) ON true
          LEFT JOIN LATERAL (SELECT * FROM dbos.workflows found WHERE found.id = picked.id LIMIT 1) AS w ON true
         GROUP BY 1, 2, 3, 4, 5, 6, 7`,
    );
    return {
      reached: rows[0]?.reached ?? undefined,
      found: rows.filter(({ count }) => count > 0),
    };
  }

  async countSteps(look: StepCountLook): Promise<Looked<StepGroup>> {
    const asked = JSON.stringify({
      groups: look.groupBy,
      names: look.names,
      width_ms: look.bucketMs,
      ended_after: look.endedAfter,
      ended_before: look.endedBefore,
    });
    const { workflows, steps } = MAX_STEP_LOOK;
    const rows = await this.database.query<StepGroupRow>(
      (client) => client.$queryRaw`
        SELECT reached::text, step, workflow, outcome, bucket, steps AS count, attempts::float8, oldest, newest,
               total_ms AS "totalMs", longest_ms AS "longestMs"
          FROM dbos.count_steps(${filterRow(look.filter)}::json, ${asked}::json,
                                ${startOf('newest', look.after)}::bigint, ${workflows}::integer, ${steps}::integer)`,
    );
    return {
      reached: rows[0]?.reached ?? undefined,
      found: rows.filter(({ count }) => count > 0),
    };
  }
}

/** Before the first, or after the last. */
function startOf(order: ListingLook['order'], after: string | undefined): string {
  return after ?? (order === 'newest' ? '9223372036854775807' : '-1');
}

function filterRow(filter: WorkflowFilter): string {
  return JSON.stringify({
    ids: filter.ids,
    id_prefix: filter.idPrefix,
    id_length: filter.idLength,
    statuses: filter.statuses satisfies readonly WorkflowStatus[],
    names: filter.names,
    queues: filter.queues,
    on_queue: filter.onQueue,
    executor_ids: filter.executorIds,
    application_versions: filter.applicationVersions,
    parent_ids: filter.parentIds,
    has_parent: filter.hasParent,
    forked_from: filter.forkedFrom,
    is_fork: filter.isFork,
    deduplication_id: filter.deduplicationId,
    has_error: filter.hasError,
    attributes: filter.attributes,
    created_after: filter.createdAfter,
    created_before: filter.createdBefore,
    started_after: filter.startedAfter,
    started_before: filter.startedBefore,
    completed_after: filter.completedAfter,
    completed_before: filter.completedBefore,
  });
}

function listedWorkflow(row: ListedRow): ListedWorkflow {
  const { serialization, outcomeSerialization, input, output, error, ...rest } = row;
  return {
    ...rest,
    input: encoded(input, serialization),
    output: encoded(output, outcomeSerialization),
    error: encoded(error, outcomeSerialization),
  };
}
