/** This executor's place among the executors: registration, heartbeat, and the recovery of those that died. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { wait, type Clock } from '../core/clock.js';
import { ExecutorIdTakenError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { ExecutorHolder } from '../repository/executor-repository.js';
import type { DatabaseTime } from './database-time.js';
import type { Lease } from './lease.js';
import { Loop, type LoopSettings } from './loop.js';
import type { RecoveryLog } from './recovery-log.js';

/** A lease is renewed this many times while it runs. */
const HEARTBEATS_PER_LEASE = 3;
const MAX_HEARTBEAT_INTERVAL_MS = 500;
/** How often the process that waits for its own predecessor's lease looks again. */
const TAKEOVER_POLL_MS = 100;

export interface MembershipParts {
  readonly executorId: string;
  readonly applicationVersion: string | undefined;
  readonly repository: CheckpointRepository;
  readonly lease: Lease;
  readonly time: DatabaseTime;
  readonly recovery: RecoveryLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Everything that ran here belongs to others now. */
  readonly onExpelled: () => void;
  /** Workflows went back to the queue. */
  readonly onRequeued: () => void;
}

export class Membership extends Loop {
  private incarnation = randomUUID();

  constructor(
    private readonly parts: MembershipParts,
    settings: Omit<LoopSettings, 'name' | 'intervalMs'>,
  ) {
    const intervalMs = Math.min(
      parts.lease.durationMs / HEARTBEATS_PER_LEASE,
      MAX_HEARTBEAT_INTERVAL_MS,
    );
    super({ ...settings, name: 'The heartbeat', intervalMs });
  }

  /**
   * Enters this executor and takes back what it owned before its restart.
   * @throws ExecutorIdTakenError when a live process has the same id
   */
  async join(): Promise<void> {
    const { executorId } = this.parts;
    await this.register();
    await this.tick();
    await this.requeueOwnedBy([executorId]);
    this.parts.logger.debug(`Executor "${executorId}" joined`, { executorId });
  }

  async leave(): Promise<void> {
    const { executorId: id, repository } = this.parts;
    await repository.executors.remove({ id, incarnation: this.incarnation });
  }

  /** Renews the lease, and requeues the work of executors that are dead. */
  async tick(): Promise<void> {
    const { executorId: id, repository, lease, time, clock } = this.parts;
    const sentAt = clock.monotonic();
    const beat = await repository.executors.heartbeat({ id, incarnation: this.incarnation });
    time.adjust(beat.databaseNow, sentAt);
    if (!beat.alive) return this.rejoin();
    lease.renewed(sentAt);
    if (beat.dead.length > 0) await this.recover(beat.dead);
  }

  private async recover(dead: readonly string[]): Promise<void> {
    await this.requeueOwnedBy(dead);
    await this.parts.repository.executors.bury(dead);
  }

  /** A bounded batch at a time, so that no statement holds up the rest. */
  private async requeueOwnedBy(executorIds: readonly string[]): Promise<void> {
    const { repository, recovery, logger } = this.parts;
    let total = 0;
    for (;;) {
      const requeued = await repository.queues.requeue({ executorIds, countsAsRecovery: true });
      recovery.requeued(requeued.length);
      total += requeued.length;
      if (requeued.length === 0) break;
      this.parts.onRequeued();
    }
    if (total > 0) {
      logger.log(`Recovering ${total} unfinished workflow${total === 1 ? '' : 's'}`, {
        executorIds,
        total,
      });
    }
  }

  /** Declared dead, for instance after a pause of the machine: give everything up, then come back as a new one. */
  private async rejoin(): Promise<void> {
    this.parts.logger.warn(
      `Executor "${this.parts.executorId}" was declared dead because its lease had run out. Its workflows go on ` +
        'elsewhere; it joins again.',
      { executorId: this.parts.executorId },
    );
    this.parts.onExpelled();
    this.parts.lease.release();
    this.incarnation = randomUUID();
    await this.register();
    await this.requeueOwnedBy([this.parts.executorId]);
  }

  private async register(): Promise<void> {
    const { executorId, applicationVersion, lease, repository, clock, logger } = this.parts;
    const registration = {
      id: executorId,
      incarnation: this.incarnation,
      leaseMs: lease.durationMs,
      hostname: hostname(),
      pid: process.pid,
      ...(applicationVersion === undefined ? {} : { applicationVersion }),
    };
    let first: ExecutorHolder | undefined;
    for (;;) {
      const sentAt = clock.monotonic();
      const holder = await repository.executors.register(registration);
      if (!holder) return lease.renewed(sentAt);
      // A holder that renews its lease while we look is alive; one that does not is our own dead predecessor.
      if (first && holder.leaseEndsInMs > first.leaseEndsInMs) {
        throw new ExecutorIdTakenError(executorId, `pid ${holder.pid} on ${holder.hostname}`);
      }
      if (!first) {
        logger.log(
          `Executor id "${executorId}" was in use by pid ${holder.pid} on ${holder.hostname}; waiting up to ` +
            `${Math.ceil(holder.leaseEndsInMs)} ms to see whether that process is alive`,
          { executorId },
        );
      }
      first = holder;
      await wait(clock, TAKEOVER_POLL_MS);
    }
  }
}
