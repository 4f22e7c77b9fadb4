/** A recorded step as its readers see it. */
import { InvalidArgumentError } from '../core/errors.js';
import type { StepRecord } from '../repository/step-repository.js';
import type { OutcomeCodec } from './outcome.js';
import { shown } from '../core/shown.js';

export interface StepReport {
  /** Position in the run: `'3'`, or `'3.0.2'` in branch 0 of step 3. */
  readonly stepId: string;
  readonly name: string;
  /** What the step returned; the stored text when it cannot be decoded here. */
  readonly output?: unknown;
  readonly error?: Error;
  /** The workflow that it has started. */
  readonly childWorkflowId: string | null;
  /** Tries that it took. */
  readonly attempts: number;
  readonly startedAt: Date;
  readonly completedAt: Date;
  readonly durationMs: number;
}

/** Which steps of a workflow. */
export interface StepQuery {
  /** Most of them, 1 to 10,000. Default: all. */
  readonly limit?: number;
  /** Only those after the step with this id, such as the last one of a page. */
  readonly after?: string;
}

const MAX_LIMIT = 10_000;

/** @throws InvalidArgumentError */
export function checkedStepQuery(query: StepQuery): StepQuery {
  const { limit, after } = query;
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIMIT)) {
    throw new InvalidArgumentError(
      `limit must be a whole number from 1 to ${MAX_LIMIT}, not ${shown(limit)}.`,
    );
  }
  const isPlace = typeof after === 'string' && /^\d{1,9}(\.\d{1,9})*$/.test(after);
  if (after !== undefined && !isPlace)
    throw new InvalidArgumentError(`after must be the id of a step, not ${shown(after)}.`);
  return query;
}

export function stepReport(record: StepRecord, codec: OutcomeCodec): StepReport {
  const { stepId, name, childWorkflowId, attempts, startedAt, completedAt } = record;
  return {
    stepId,
    name,
    ...decoded(record, codec),
    childWorkflowId,
    attempts,
    startedAt,
    completedAt,
    durationMs: completedAt.getTime() - startedAt.getTime(),
  };
}

/** One row that cannot be decoded must not hide the others. */
function decoded(
  { output, error }: StepRecord,
  { serializers }: OutcomeCodec,
): Pick<StepReport, 'output' | 'error'> {
  if (error) return { error: serializers.decodeError(error) };
  try {
    return { output: output ? serializers.decode(output) : undefined };
  } catch {
    return { output: output?.text };
  }
}
