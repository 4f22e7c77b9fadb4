/** Fires the ticks of schedules as they come due, by the database's clock. */
import type { Clock } from '../core/clock.js';

import type { Logger } from '../core/logger.js';
import { loggable } from '../core/redaction.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { DueSchedule } from '../repository/schedule-repository.js';
import { planFirings, type PlannedFiring } from './firings.js';
import { Loop } from './loop.js';
import type { OutcomeCodec } from './outcome.js';
import type { WorkflowRegistry } from './registry.js';

/** Longest pause between two looks: how long a schedule that another process made may go unseen. */
const MAX_PAUSE_MS = 30_000;
/** How soon after a failure, or after somebody else was quicker, the next look comes. */
const RETRY_MS = 1_000;
/** Most schedules of one look. */
const MAX_DUE = 100;

export interface SchedulerParts {
  readonly repository: CheckpointRepository;
  readonly registry: WorkflowRegistry;
  readonly codec: OutcomeCodec;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** A workflow waits, on a queue or on none, that has no version of the application. */
  readonly onEnqueued: (workflowId: string, queue: string | null) => void;
}

export class Scheduler extends Loop {
  /** Schedules that cannot be fired here, and until when (monotonic) they are left to other processes. */
  private readonly setAside = new Map<string, number>();
  private isHalted = false;

  constructor(private readonly parts: SchedulerParts) {
    const { clock, random, logger } = parts;
    super({ name: 'Firing schedules', intervalMs: RETRY_MS, clock, random, logger });
  }

  override halt(): void {
    this.isHalted = true;
    super.halt();
  }

  async tick(): Promise<number> {
    const { repository, registry } = this.parts;
    const { databaseNow, due, nextDueInMs } = await repository.schedules.due({
      workflowNames: registry.callable(),
      except: this.exceptions(),
      limit: MAX_DUE,
    });
    if (this.isHalted) return MAX_PAUSE_MS; // the shutdown began during the look
    if (due.length > 0) return this.fire(due, databaseNow);
    return Math.min(Math.ceil(nextDueInMs ?? MAX_PAUSE_MS), MAX_PAUSE_MS);
  }

  /** Returns the pause until the next look. */
  private async fire(due: readonly DueSchedule[], databaseNow: Date): Promise<number> {
    const { repository, codec, registry } = this.parts;
    const { serializers } = codec;
    const { firings, failures } = planFirings(due, databaseNow, {
      serializers,
      nameOf: (title) => registry.nameOfNewest(title),
    });
    for (const { name, error } of failures) this.leaveToOthers(name, error);
    if (firings.length === 0) return 0;
    const moved = await repository.schedules.fire(firings);
    if (moved.length === 0) return RETRY_MS;
    this.fired(firings.filter(({ name }) => moved.includes(name)));
    return 0;
  }

  private fired(firings: readonly PlannedFiring[]): void {
    for (const firing of firings) {
      for (const { id } of firing.runs) this.parts.onEnqueued(id, firing.queue);
      this.tellOfMissed(firing);
    }
  }

  private exceptions(): string[] {
    const now = this.parts.clock.monotonic();
    for (const [name, until] of this.setAside) if (until <= now) this.setAside.delete(name);
    return [...this.setAside.keys()];
  }

  private leaveToOthers(name: string, error: unknown): void {
    const { clock, logger } = this.parts;
    this.setAside.set(name, clock.monotonic() + MAX_PAUSE_MS);
    logger.warn(`Schedule "${name}" cannot be fired here and is left to other processes`, {
      schedule: name,
      error: loggable(error),
    });
  }

  private tellOfMissed({ name, expectedTickAt, passedOver }: PlannedFiring): void {
    if (!passedOver) return;
    const since = expectedTickAt.toISOString();
    this.parts.logger.log(`Schedule "${name}" passes over ticks that were missed since ${since}`, {
      schedule: name,
      since,
    });
  }
}
