/** What the workflows of every contestant do: the same for all, and checked. */
import { monotonicMs } from './monotonic.js';
import type { Begun } from './protocol.js';
import { Tally } from './tally.js';

export class Work {
  /** Workflows whose body has come to its end. */
  readonly ended = new Tally();
  /** Workflows that stand in the step that never ends. */
  readonly held = new Tally();
  /** Sleepers that are about to sleep, each counted once. */
  readonly asleep = new Tally();
  /** Jobs of a queue whose body has begun. */
  readonly jobs = new Tally();
  /** Told of each of them at once. */
  onJob: (job: Begun) => void = () => undefined;
  /** How long each ball was away, in milliseconds. */
  readonly roundTripsMs: number[] = [];
  /** When the last event was about to be set. */
  settingAtMs = Number.NaN;
  private servedAtMs = Number.NaN;
  private readonly cues = new Tally();
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

  /** The first line of a job of a queue. */
  job(index: number): void {
    this.onJob({ index, atMs: monotonicMs() });
    this.jobs.add();
  }

  /** All of a job for a queue that keeps no checkpoints: the body of the step without the step around it. */
  async plainJob(index: number): Promise<void> {
    this.job(index);
    this.end(await this.step(0), 1);
  }

  /** The line before the ball of a ping-pong is sent. */
  serve(): void {
    this.servedAtMs = performance.now();
  }

  /** The line after it has come back. */
  returned(ball: number | null | undefined, round: number): void {
    this.roundTripsMs.push(performance.now() - this.servedAtMs);
    if (ball !== round) throw new Error(`In round ${round} came ${ball}.`);
  }

  /** Lets a herald set the next event. */
  giveCue(): void {
    this.cues.add();
  }

  /** What a herald waits for before it sets an event. */
  cue(index: number): Promise<void> {
    return this.cues.reaches(index + 1);
  }

  /** The line before an event is set. */
  setting(): void {
    this.settingAtMs = performance.now();
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
