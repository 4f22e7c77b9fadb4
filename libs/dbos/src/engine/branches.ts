/** `all`, `map` and `race`: lines of execution side by side, each with a step sequence of its own. */
import { InvalidArgumentError } from '../core/errors.js';
import { shown } from '../core/shown.js';
import { checkpoint } from './checkpoint.js';
import type { RunScope, RunScopes } from './run-scope.js';
import { BranchClosedError, type StepSequence } from './step-sequence.js';

export type Branch<T> = () => T | Promise<T>;

export class Branches {
  constructor(private readonly scopes: RunScopes) {}

  /** Runs every branch; resolves with their results in order, or rejects as `each` does. */
  async all<T>(scope: RunScope, branches: ReadonlyArray<Branch<T>>): Promise<T[]> {
    return this.each(scope, 'flow.all', branches, branches.length);
  }

  /** Runs `work` for every item, at most `concurrency` at a time; results in the order of the items. */
  async map<T, R>(
    scope: RunScope,
    items: readonly T[],
    work: (item: T, index: number) => R | Promise<R>,
    concurrency = items.length,
  ): Promise<R[]> {
    if (!(
      concurrency === Infinity ||
      (Number.isInteger(concurrency) && concurrency > 0) ||
      items.length === 0
    )) {
      throw new InvalidArgumentError(
        `flow.map: concurrency must be a whole number above 0, not ${shown(concurrency)}.`,
      );
    }
    const branches = Array.from(items, (item, index) => () => work(item, index));
    return this.each(scope, 'flow.map', branches, concurrency);
  }

  /**
   * Runs every branch until the first settles, whose outcome is recorded and returned. The others are cut off:
   * their signals are aborted, nothing of them is recorded or goes on.
   */
  race<T>(scope: RunScope, branches: ReadonlyArray<Branch<T>>): Promise<T> {
    if (branches.length === 0)
      throw new InvalidArgumentError('flow.race needs at least one branch.');
    const { run, sequence } = scope;
    return checkpoint(scope, {
      name: 'flow.race',
      effect: false, // the effects are those of the branches, each behind its own barrier
      produce: async (stepId) => {
        const lines = branches.map((_, index) => sequence.branch(stepId, index));
        run.leave(); // what is at work are the branches
        try {
          return await Promise.race(
            branches.map((branch, index) => this.enter(scope, lines[index], branch)),
          );
        } finally {
          run.enter();
          lines.forEach((line) => line.close(new BranchClosedError()));
          sequence.dropBranches(lines);
        }
      },
    });
  }

  /**
   * After a failure nothing more is begun, what has begun settles, and the failure of the lowest index counts. Which
   * failure comes first in time may differ on a replay; which has the lowest index may not.
   */
  private async each<T>(
    scope: RunScope,
    name: string,
    branches: ReadonlyArray<Branch<T>>,
    concurrency: number,
  ): Promise<T[]> {
    const { run, sequence } = scope;
    const stepId = sequence.takeId(); // before any await
    await run.untilForgotten(sequence);
    run.assertGoing(sequence);
    run.openScope(stepId, name);
    const lines = branches.map((_, index) => sequence.branch(stepId, index));
    const results: T[] = [];
    const failures = new Map<number, unknown>();
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < branches.length && failures.size === 0) {
        const index = next++;
        try {
          results[index] = await this.enter(scope, lines[index], branches[index]);
        } catch (error) {
          failures.set(index, error);
        }
      }
    };
    const workers = Array.from({ length: Math.min(concurrency, branches.length) }, worker);
    await Promise.all(workers);
    if (failures.size > 0) throw failures.get(Math.min(...failures.keys()));
    sequence.dropBranches(lines);
    return results;
  }

  private async enter<T>(
    scope: RunScope,
    line: StepSequence | undefined,
    branch: Branch<T> | undefined,
  ): Promise<T> {
    if (!line || !branch) throw new InvalidArgumentError('A branch must be a function.');
    const result = await this.scopes.enter({ ...scope, sequence: line }, branch);
    if (!line.isClosed) scope.run.assertHistoryUsed(line);
    return result;
  }
}
