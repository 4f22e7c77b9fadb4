/**
 * The one way in which a workflow does something durable: take the id, recall, settle, record, unwrap.
 * The only caller of `WorkflowRun.record`, and thereby of `steps.record`.
 */
import type { NewEvent } from '../repository/step-repository.js';
import type { Activity, Awaited } from './activities.js';
import { failed, within } from './diagnostics.js';
import type { StepEvent } from './diagnostics-events.js';
import type { Outcome, RecordedOutcome } from './outcome.js';
import type { RunScope } from './run-scope.js';

export interface Operation<T> {
  /** The determinism key: what the history must show under the same id on a replay. */
  readonly name: string;
  /**
   * Whether `produce` can be noticed outside of this process. Then everything recorded before must be durable
   * first. Default true; false for what only makes a value (the time, a UUID).
   */
  readonly effect?: boolean;
  /** What it is to those who watch. Default `operation`. */
  readonly kind?: StepEvent['kind'];
  /** Does the work; not called when the history has its outcome. */
  readonly produce: (stepId: string, report: OperationReport) => T | Promise<T>;
}

/** What an operation may add to its record. */
export interface OperationReport {
  attempts: number;
  childWorkflowId: string | undefined;
  /** Its checkpoint was part of the very commit that did the work. */
  isRecorded: boolean;
  /** What stands as the outcome already, for work in our own database that was one commit with its record. */
  recorded?: RecordedOutcome;
  /** To be set in one commit with the record. */
  event?: NewEvent;
  /** Called once the work has settled. */
  onSettled?: () => void;
  /** Called once the record is durable, if it comes to that. */
  onDurable?: () => void;
  /** What it waits for, as long as it is under way. */
  awaits?: Awaited;
  /** What those who watch were told; undefined while nobody does. */
  diagnosed?: StepEvent | undefined;
}

/** @param stepId taken earlier by operations that need several ids; otherwise taken now, before any await */
export async function checkpoint<T>(
  scope: RunScope,
  operation: Operation<T>,
  stepId: string = scope.sequence.takeId(),
): Promise<T> {
  const { run, sequence } = scope;
  const { name, effect = true, kind, produce } = operation;
  let activity: Activity | undefined;
  let diagnosed: StepEvent | undefined;
  run.enter();
  try {
    const recalled = run.recall<T>(stepId, name);
    if (recalled) {
      run.diagnostics.stepReplayed(run, stepId, name);
      return recalled.unwrap();
    }
    const barrier = run.barrier(sequence, effect);
    if (barrier) await barrier;
    const startedAt = performance.now();
    if (run.diagnostics.hearsSteps)
      diagnosed = run.diagnostics.stepBegan(run, { stepId, name, kind });
    const report = reportOf(diagnosed);
    activity = { stepId, name, startedAt, report };
    run.activities.begin(activity);
    let outcome: Outcome<T>;
    try {
      const work = diagnosed && (() => produce(stepId, report));
      const result = await (work ? within(diagnosed, work) : produce(stepId, report));
      outcome = run.codec.succeeded(result, `result of ${name}`);
    } catch (error) {
      outcome = run.codec.failed(error);
    }
    report.onSettled?.();
    run.assertGoing(sequence); // interrupted meanwhile, or the branch lost its race: nothing more is recorded
    if (report.isRecorded) return outcome.unwrap();
    if (report.recorded) return run.adopt<T>({ stepId, name, ...report.recorded }).unwrap();
    const written = run.record({
      stepId,
      name,
      output: outcome.output,
      error: outcome.error,
      childWorkflowId: report.childWorkflowId,
      event: report.event,
      attempts: report.attempts,
      durationMs: performance.now() - startedAt,
    });
    const { onDurable } = report;
    if (onDurable) void written.then((isDurable) => isDurable && onDurable());
    return outcome.unwrap();
  } catch (error) {
    failed(diagnosed, error);
    throw error;
  } finally {
    if (activity) run.activities.end(activity);
    if (diagnosed) run.diagnostics.stepEnded(diagnosed, activity?.report.attempts ?? 1);
    run.leave();
    const forgotten = run.untilForgotten(sequence);
    if (forgotten) await forgotten; // even an await of nothing has its price, and every step would pay it
  }
}

function reportOf(diagnosed: StepEvent | undefined): OperationReport {
  return { attempts: 1, childWorkflowId: undefined, isRecorded: false, diagnosed };
}
