/** What earlier runs of a workflow have recorded, and whether the code still asks for the same. */
import type { HistoryDifference } from '../core/errors.js';
import type { StepRecord } from '../repository/step-repository.js';

/** Either the recorded step, or how the code differs from what was recorded, or nothing: the step is new. */
export type Recollection =
  { readonly step: StepRecord } | { readonly difference: HistoryDifference } | undefined;

export class History {
  private readonly steps = new Map<string, StepRecord>();
  /** Ids under which branches have recorded steps. */
  private readonly scopes = new Map<string, string>();

  constructor(records: readonly StepRecord[] = []) {
    for (const record of records) {
      this.steps.set(record.stepId, record);
      this.noteScopes(record);
    }
  }

  /** A fresh run has no history and asks the database for none. */
  get isEmpty(): boolean {
    return this.steps.size === 0;
  }

  /** What was recorded at `stepId`, where the code now asks for the operation `name`. */
  recall(stepId: string, name: string): Recollection {
    if (this.isEmpty) return undefined;
    const step = this.steps.get(stepId);
    if (step) return step.name === name ? { step } : this.differs(stepId, step.name, name);
    const inside = this.scopes.get(stepId);
    // A race records its own step only once it is decided, so its branches may be there before it.
    if (inside !== undefined && name !== 'flow.race')
      return this.differs(stepId, `branches with ${inside}`, name);
    return undefined;
  }

  /** Whether something else than branches was recorded where the code now opens branches. */
  recallScope(stepId: string, name: string): HistoryDifference | undefined {
    const step = this.steps.get(stepId);
    return step && { stepId, recorded: step.name, requested: name };
  }

  /**
   * The first recorded step that code which asked for `taken` ids, and then returned, did not come to. What lies inside
   * of a step that was asked for does not count: branches may be cut short by each other.
   */
  leftover(taken: number): HistoryDifference | undefined {
    let first: StepRecord | undefined;
    for (const step of this.steps.values()) {
      if (positionOf(step) < taken) continue;
      if (!first || positionOf(step) < positionOf(first)) first = step;
    }
    if (!first) return undefined;
    const isInside = first.stepId.includes('.');
    return {
      stepId: String(positionOf(first)),
      recorded: isInside ? `branches with ${first.name}` : first.name,
      requested: undefined,
    };
  }

  private differs(stepId: string, recorded: string, requested: string): Recollection {
    return { difference: { stepId, recorded, requested } };
  }

  private noteScopes(record: StepRecord): void {
    const path = record.stepId.split('.');
    for (let depth = path.length - 2; depth > 0; depth -= 2) {
      this.scopes.set(path.slice(0, depth).join('.'), record.name);
    }
  }
}

/** Position in the run's own sequence of the step, or of the operation that its branch belongs to. */
function positionOf({ stepId }: StepRecord): number {
  return Number.parseInt(stepId, 10);
}
