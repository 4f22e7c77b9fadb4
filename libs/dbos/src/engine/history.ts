/** What earlier runs of a workflow have recorded, and whether the code still asks for the same. */
import type { HistoryDifference } from '../core/errors.js';
import type { StepRecord } from '../repository/step-repository.js';

/** Either the recorded step, or how the code differs from what was recorded, or nothing: the step is new. */
export type Recollection =
  { readonly step: StepRecord } | { readonly difference: HistoryDifference } | undefined;

/** A recorded step as seen from one sequence: its position there, and whether it lies deeper, inside of branches. */
interface Sighting {
  readonly position: number;
  readonly isInside: boolean;
  readonly name: string;
}

export class History {
  private readonly steps = new Map<string, StepRecord>();
  /** For each sequence that has recorded anything (by the prefix of its ids): what, in no order. */
  private readonly sequences = new Map<string, Sighting[]>();

  constructor(records: readonly StepRecord[] = []) {
    for (const record of records) {
      this.steps.set(record.stepId, record);
      this.note(record);
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
    if (step && step.name !== name) return differs(stepId, step.name, name);
    if (step) {
      // Each is asked for once: its payload need not be held until the run ends.
      this.steps.set(stepId, { ...step, output: null, error: null });
      return { step };
    }
    // A race records its own step only once it is decided, so its branches may be there before it.
    const inside = name === 'flow.race' ? undefined : this.insideOf(stepId);
    return inside && differs(stepId, branchesWith(inside), name);
  }

  /** What stands at `stepId`, the step or what lies inside of it; undefined for nothing. */
  nameAt(stepId: string): string | undefined {
    if (this.isEmpty) return undefined;
    const inside = this.insideOf(stepId);
    return this.steps.get(stepId)?.name ?? (inside && branchesWith(inside));
  }

  /** Whether something else than branches was recorded where the code now opens branches. */
  recallScope(stepId: string, name: string): HistoryDifference | undefined {
    const step = this.steps.get(stepId);
    return step && { stepId, recorded: step.name, requested: name };
  }

  /**
   * The first recorded step that a line of execution which asked for `taken` ids, and then ended, did not come to. What
   * lies inside of a step that was asked for does not count: branches may be cut short by each other.
   * @param prefix of the ids of that sequence; empty for the run's own
   */
  leftover(prefix: string, taken: number): HistoryDifference | undefined {
    let first: Sighting | undefined;
    for (const sighting of this.sequences.get(prefix) ?? []) {
      if (sighting.position < taken) continue;
      if (!first || sighting.position < first.position) first = sighting;
    }
    if (!first) return undefined;
    return {
      stepId: `${prefix}${first.position}`,
      recorded: first.isInside ? branchesWith(first) : first.name,
      requested: undefined,
    };
  }

  private insideOf(stepId: string): Sighting | undefined {
    const position = Number(stepId.slice(stepId.lastIndexOf('.') + 1));
    const prefix = stepId.slice(0, stepId.lastIndexOf('.') + 1);
    return this.sequences
      .get(prefix)
      ?.find((sighting) => sighting.isInside && sighting.position === position);
  }

  /** Ids alternate between positions and branches: `3.0.2` is seen from the run at 3 and from branch `3.0.` at 2. */
  private note({ stepId, name }: StepRecord): void {
    const path = stepId.split('.');
    for (let depth = 0; depth < path.length; depth += 2) {
      const prefix = path.slice(0, depth).join('.') + (depth > 0 ? '.' : '');
      const sighting = { position: Number(path[depth]), isInside: depth < path.length - 1, name };
      const sightings = this.sequences.get(prefix);
      if (sightings) sightings.push(sighting);
      else this.sequences.set(prefix, [sighting]);
    }
  }
}

function differs(stepId: string, recorded: string, requested: string): Recollection {
  return { difference: { stepId, recorded, requested } };
}

function branchesWith({ name }: Sighting): string {
  return `branches with ${name}`;
}
