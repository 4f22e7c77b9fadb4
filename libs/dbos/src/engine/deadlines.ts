/**
 * Cancels what has come to its deadline, by the database's clock and whoever owns it, be they dead. Every process does so
 * for all, at the moment of the next deadline: it knows those of its own runs, and each heartbeat tells of the rest. While
 * there is none, nothing is asked.
 */
import type { ControlRepository } from '../repository/control-repository.js';
import type { DatabaseTime } from './database-time.js';
import type { Executor } from './executor.js';
import type { Interruptions } from './interruptions.js';
import { Loop, type LoopSettings } from './loop.js';

/** Most workflows that one statement cancels: bounds its locks and its time. */
const BATCH_SIZE = 1_000;
/** Heartbeats tell when there is something; whatever they miss is found by this. */
const IDLE_MS = 600_000;
/** When somebody holds the row of one that is due. */
const LOCKED_MS = 100;

export interface DeadlinesParts {
  readonly repository: { readonly control: ControlRepository };
  readonly executor: Executor;
  readonly interruptions: Interruptions;
  readonly time: DatabaseTime;
  /** Others may have waited for their ends. */
  readonly onExpired: () => void;
}

export class Deadlines extends Loop {
  constructor(
    private readonly parts: DeadlinesParts,
    settings: Omit<LoopSettings, 'name' | 'intervalMs'>,
  ) {
    super({ ...settings, name: 'Watching deadlines', intervalMs: IDLE_MS });
  }

  /** There is a workflow with this deadline. */
  expect(deadline: Date): void {
    this.wakeWithin(Math.max(0, deadline.getTime() - this.parts.time.nowMs()));
  }

  async tick(): Promise<number> {
    const { repository, interruptions, onExpired } = this.parts;
    const { expired, nextInMs } = await repository.control.expire(BATCH_SIZE);
    if (expired.length > 0) {
      interruptions.cancelled(expired, 'deadline');
      onExpired();
    }
    const oursInMs = this.lookForThoseOfOurs();
    if (expired.length === BATCH_SIZE) return 0;
    if (nextInMs === null) return oursInMs;
    return Math.min(oursInMs, nextInMs > 0 ? Math.ceil(nextInMs) : LOCKED_MS);
  }

  /**
   * Another process may have been the first to cancel what runs here, and its word may not come.
   * @returns milliseconds until the next deadline of a run that goes on: this clock may have been set back since it was expected
   */
  private lookForThoseOfOurs(): number {
    const { executor, interruptions, time } = this.parts;
    const now = time.nowMs();
    const late: string[] = [];
    let nextInMs = IDLE_MS;
    for (const { id, interruption, deadline } of executor.running) {
      if (interruption || !deadline) continue;
      const inMs = deadline.getTime() - now;
      if (inMs <= 0) late.push(id);
      else nextInMs = Math.min(nextInMs, Math.ceil(inMs));
    }
    interruptions.suspect(late);
    return nextInMs;
  }
}
