/** A recorded step as its readers see it. */
import type { StepRecord } from '../repository/step-repository.js';
import type { OutcomeCodec } from './outcome.js';

export interface StepReport {
  /** Position in the run: `'3'`, or `'3.0.2'` in branch 0 of step 3. */
  readonly stepId: string;
  readonly name: string;
  /** What the step returned; the stored text when it cannot be decoded here. */
  readonly output?: unknown;
  readonly error?: Error;
  readonly childWorkflowId: string | null;
  readonly attempts: number;
  readonly startedAt: Date;
  readonly completedAt: Date;
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
