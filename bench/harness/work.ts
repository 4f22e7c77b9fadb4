/** What the workflows of every contestant do: the same for all, and checked. */
import { Tally } from './tally.js';

export class Work {
  /** Workflows whose body has come to its end. */
  readonly ended = new Tally();
  /** Workflows that stand in the step that never ends. */
  readonly held = new Tally();
  /** Sleepers that are about to sleep, each counted once. */
  readonly asleep = new Tally();
  private readonly begun: number[] = [];
  private readonly seenAsleep = new Set<number>();

  /** @param holdAt the step that never ends, counted from 0 */
  constructor(private readonly holdAt?: number) {}

  /** The body of a step: adds one. */
  step(value: number): number | Promise<number> {
    this.begun[value] = (this.begun[value] ?? 0) + 1;
    if (value !== this.holdAt) return value + 1;
    this.held.add();
    return new Promise<number>(() => {});
  }

  /** How often a step has been begun in this process. */
  timesBegun(step: number): number {
    return this.begun[step] ?? 0;
  }

  /** The last line of a workflow. */
  end(value: number, steps: number): number {
    if (value !== steps) throw new Error(`A workflow of ${steps} steps ended with ${value}.`);
    this.ended.add();
    return value;
  }

  /** The line before a workflow's long sleep; a replay passes it again. */
  fallAsleep(index: number): void {
    if (this.seenAsleep.has(index)) return;
    this.seenAsleep.add(index);
    this.asleep.add();
  }
}
