/** The place of a run among those that are at work in this process: a slot, and its count in its queue. */
import type { QueueRegistry } from './queue-registry.js';
import type { Slots } from './slots.js';

/** Where a place is taken. */
export interface Workplace {
  readonly slots: Slots;
  readonly queues: QueueRegistry;
}

export class Place {
  private holdsSlot = true;
  private isVacant = false;

  /** @param queue of the run, whose slot is taken already */
  constructor(
    private readonly workplace: Workplace,
    private readonly queue: string | null,
  ) {
    workplace.queues.began(queue);
  }

  /** A run that only waits for others, or for long, needs no slot. */
  hold(holds: boolean): void {
    if (this.isVacant || holds === this.holdsSlot) return;
    this.holdsSlot = holds;
    if (holds) this.workplace.slots.take();
    else this.workplace.slots.give();
  }

  /**
   * The code of the run is over: whoever waits may begin while its outcome is written. Limits that processes share count it
   * until that stands, for they count what the database shows.
   */
  vacate(): void {
    if (this.isVacant) return;
    this.hold(false);
    this.isVacant = true;
    this.workplace.queues.left(this.queue);
  }

  /** The run is over here, whatever became of its outcome. */
  close(): void {
    this.vacate();
    this.workplace.queues.ended(this.queue);
  }
}
