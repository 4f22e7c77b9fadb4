/** Wakes delayed workflows when their time has come: one statement, however many wait. */
import type { QueueRepository } from '../repository/queue-repository.js';
import { Loop, type LoopSettings } from './loop.js';

export class DelayedRelease extends Loop {
  private readonly maxPauseMs: number;

  constructor(
    private readonly queues: QueueRepository,
    private readonly onReleased: () => void,
    settings: Omit<LoopSettings, 'name'>,
  ) {
    super({ ...settings, name: 'Releasing delayed workflows' });
    this.maxPauseMs = settings.intervalMs;
  }

  async tick(): Promise<number> {
    const { released, nextDueInMs } = await this.queues.releaseDue();
    if (released > 0) this.onReleased();
    // Others may delay workflows and die, so never pause longer than the interval.
    return Math.max(0, Math.min(nextDueInMs ?? this.maxPauseMs, this.maxPauseMs));
  }
}
