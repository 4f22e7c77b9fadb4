/** How new workflows are written: one alone, many that are alike, or any. */
import type { NewWorkflow, StartedWorkflow } from '../repository/workflow-repository.js';
import type { Statement } from './database.js';

/** Of a workflow that was not written: what stands in its place, if it can be seen. */
export type StandingRow = Omit<StartedWorkflow, 'id' | 'created'> & {
  readonly asked: string;
  readonly id: string | null;
};

/** The cheapest way for these; the answers to all are the same. */
export function startStatement(workflows: readonly NewWorkflow[]): Statement<StandingRow> {
  const [first, second] = workflows;
  if (first && !second && isPlain(first)) return startOfOne(first);
  if (first && workflows.every((workflow) => isLike(workflow, first)))
    return startOfAlike(first, workflows);
  return startOfAny(workflows);
}

function startOfAny(workflows: readonly NewWorkflow[]): Statement<StandingRow> {
  const rows = JSON.stringify(workflows.map(workflowColumns));
  return (client) => client.$queryRaw`
    SELECT asked, id, name, status, executor_id AS "executorId", epoch
      FROM dbos.start_workflows(${rows}::json)`;
}

/** What they have in common is said once: a quarter less for the server to do. */
function startOfAlike(
  { name, executorId, applicationVersion, input, queue, priority }: NewWorkflow,
  workflows: readonly NewWorkflow[],
): Statement<StandingRow> {
  const shared = JSON.stringify({
    name,
    executor_id: executorId,
    application_version: applicationVersion,
    serialization: input.format,
    queue,
    priority,
  });
  const rows = JSON.stringify(workflows.map((each) => ({ id: each.id, input: each.input.text })));
  return (client) => client.$queryRaw`
    SELECT asked, id, name, status, executor_id AS "executorId", epoch
      FROM dbos.start_workflows_alike(${shared}::json, ${rows}::json)`;
}

/** Whether it differs from the other in nothing but its id and input, and has nothing that few have. */
function isLike(workflow: NewWorkflow, other: NewWorkflow): boolean {
  return (
    workflow.name === other.name &&
    workflow.executorId === other.executorId &&
    workflow.applicationVersion === other.applicationVersion &&
    workflow.input.format === other.input.format &&
    workflow.queue === other.queue &&
    workflow.priority === other.priority &&
    isBare(workflow)
  );
}

function isBare(workflow: NewWorkflow): boolean {
  return (
    isPlain(workflow) &&
    workflow.attributes === undefined &&
    workflow.context === undefined &&
    workflow.partitionKey === undefined &&
    workflow.deduplicationId === undefined &&
    workflow.delayMs === undefined &&
    workflow.runAt === undefined
  );
}

/** Neither a child, which may come too late, nor limited in time. */
function isPlain({ parentId, timeoutMs, deadline }: NewWorkflow): boolean {
  return parentId === undefined && timeoutMs === undefined && deadline === undefined;
}

/** A plain one alone: half the price of a set of one. */
function startOfOne(workflow: NewWorkflow): Statement<StandingRow> {
  const { id, name, input, attributes, context } = workflow;
  const attributesText = attributes ? JSON.stringify(attributes) : null;
  const contextText = context ? JSON.stringify(context) : null;
  return (client) => client.$queryRaw`
    SELECT asked, id, name, status, executor_id AS "executorId", epoch
      FROM dbos.start_workflows_of_one(
             ${id}::text, ${name}::text, ${workflow.executorId ?? null}::text, ${workflow.parentId ?? null}::text,
             ${workflow.applicationVersion ?? null}::text, ${attributesText}::jsonb, ${input.format}::text,
             ${input.text}::text, ${workflow.queue ?? null}::text, ${workflow.priority ?? null}::integer,
             ${workflow.partitionKey ?? null}::text, ${workflow.deduplicationId ?? null}::text,
             ${workflow.delayMs ?? null}::float8, ${workflow.runAt ?? null}::timestamptz,
             ${contextText}::jsonb)`;
}

/** The row of a new workflow, as the functions of the database take it. */
export function workflowColumns(workflow: NewWorkflow): Record<string, unknown> {
  return {
    id: workflow.id,
    name: workflow.name,
    executor_id: workflow.executorId,
    parent_id: workflow.parentId,
    application_version: workflow.applicationVersion,
    attributes: workflow.attributes,
    context: workflow.context,
    serialization: workflow.input.format,
    input: workflow.input.text,
    queue: workflow.queue,
    priority: workflow.priority,
    partition_key: workflow.partitionKey,
    deduplication_id: workflow.deduplicationId,
    delay_ms: workflow.delayMs,
    run_at: workflow.runAt,
    timeout_ms: workflow.timeoutMs,
    deadline: workflow.deadline,
  };
}
