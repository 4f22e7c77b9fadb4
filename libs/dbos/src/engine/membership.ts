/** This executor's place among the executors: it joins, shows itself alive, and sees who is dead. */
import { hostname } from 'node:os';
import { wait, type Clock } from '../core/clock.js';
import { ExecutorIdTakenError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { Notifier } from '../repository/notifier.js';
import type { ExecutorHolder } from '../repository/executor-repository.js';
import type { ApplicationVersion } from './application-version.js';
import type { DatabaseTime } from './database-time.js';
import type { ExecutorIdentity } from './executor-identity.js';
import type { Lease } from './lease.js';
import { Loop, type LoopSettings } from './loop.js';
import type { QueueRegistry } from './queue-registry.js';
import type { WorkflowRegistry } from './registry.js';

/** A lease is renewed this many times while it runs. */
const HEARTBEATS_PER_LEASE = 3;
/** Often enough that a process whose session has ended shows itself alive before it is taken for dead. */
const MAX_HEARTBEAT_INTERVAL_MS = 1_250;
/** Without a session to tell it at once, a death is noticed within this of the end of the lease. */
const UNHEARD_HEARTBEAT_INTERVAL_MS = 1_000;
/** How often the process that waits for its own predecessor's lease looks again. */
const TAKEOVER_POLL_MS = 100;

export interface MembershipParts {
  readonly identity: ExecutorIdentity;
  readonly version: ApplicationVersion;
  readonly repository: CheckpointRepository;
  readonly registry: WorkflowRegistry;
  readonly queues: QueueRegistry;
  readonly runsWorkflows: boolean;
  readonly lease: Lease;
  readonly notifier: Notifier;
  readonly time: DatabaseTime;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Everything that ran here belongs to others now. */
  readonly onExpelled: () => void;
  /** Executors that are dead and may still own workflows. */
  readonly onDead: (executorIds: readonly string[]) => void;
  /** The next deadline of any workflow is this many milliseconds away. */
  readonly onDeadlineWithin: (ms: number) => void;
}

export class Membership extends Loop {
  private trustOthersUntil = Number.NEGATIVE_INFINITY;
  private isLeaving = false;

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
   * Enters this executor and looks who is dead, its own former self included.
   * @throws ExecutorIdTakenError when a live process has the same configured id
   */
  async join(): Promise<void> {
    await this.register();
    await this.tick();
    this.parts.notifier.notify('executor');
  }

  override halt(): void {
    this.isLeaving = true;
    super.halt();
  }

  /** Takes this executor off the list once no heartbeat is under way that could bring it back. */
  async leave(): Promise<void> {
    await this.stop();
    await this.parts.repository.executors.remove(this.parts.identity.id);
  }

  /** Renews the lease and tells of executors that are dead. Waits for nothing but the row of this executor. */
  async tick(): Promise<number | void> {
    const { identity, repository, lease, notifier, time, clock, onDead, onDeadlineWithin } =
      this.parts;
    const sentAt = clock.monotonic();
    const beat = await repository.executors.heartbeat(identity.id, {
      withinMs: lease.durationMs / HEARTBEATS_PER_LEASE,
      mayDeclare: () => this.mayDeclare(),
    });
    time.adjust(beat.databaseNow, sentAt);
    if (!beat.alive) return this.isLeaving ? undefined : this.rejoin();
    lease.renewed(sentAt);
    notifier.hasAudience = beat.hasAudience;
    onDead(beat.dead);
    if (beat.nextDeadlineInMs !== null) onDeadlineWithin(Math.max(0, beat.nextDeadlineInMs));
    if (beat.suspectInMs !== null) this.wakeWithin(beat.suspectInMs);
    return notifier.isListening
      ? undefined
      : this.spread(Math.min(this.intervalMs, UNHEARD_HEARTBEAT_INTERVAL_MS));
  }

  /** Cut off for longer than a lease, as everybody else may have been: give them a lease to come back. */
  private mayDeclare(): boolean {
    const { lease, clock } = this.parts;
    const now = clock.monotonic();
    if (!lease.isValid) this.trustOthersUntil = now + lease.durationMs;
    return now >= this.trustOthersUntil;
  }

  /** Declared dead, for instance after a pause of the machine: give everything up, then come back as another. */
  private async rejoin(): Promise<void> {
    const { identity, lease, logger, onExpelled } = this.parts;
    lease.expire(); // until the return nothing is claimed or owned
    const former = identity.renew();
    logger.warn(
      `Executor "${former}" was declared dead because its lease had run out. Its workflows go on elsewhere; ` +
        `it joins again as "${identity.id}".`,
      { former, executorId: identity.id },
    );
    onExpelled();
    await this.register();
  }

  private async register(): Promise<void> {
    const { identity, version, lease, repository, clock, logger } = this.parts;
    const { registry, queues, runsWorkflows } = this.parts;
    const { id, name } = identity;
    const registration = {
      id,
      leaseMs: lease.durationMs,
      hostname: hostname(),
      pid: process.pid,
      workflows: runsWorkflows ? registry.names() : [],
      queues: runsWorkflows ? queues.heard() : [],
      ...(name !== undefined && { name }),
      ...(version.own !== undefined && { applicationVersion: version.own }),
      compatibleVersions: version.compatible,
    };
    let former: ExecutorHolder | undefined;
    for (;;) {
      const sentAt = clock.monotonic();
      const holder = await repository.executors.register(registration);
      if (!holder) return lease.renewed(sentAt);
      // A holder that renews its lease while we look is alive; one that does not is a dead predecessor.
      const isAlive = former?.id === holder.id && holder.leaseEndsInMs > former.leaseEndsInMs;
      if (isAlive) {
        throw new ExecutorIdTakenError(name ?? id, `pid ${holder.pid} on ${holder.hostname}`);
      }
      if (!former) {
        logger.log(
          `Executor id "${name}" is in use by pid ${holder.pid} on ${holder.hostname}; waiting up to ` +
            `${Math.ceil(holder.leaseEndsInMs)} ms to see whether that process is alive`,
          { executorId: name },
        );
      }
      former = holder;
      await wait(clock, TAKEOVER_POLL_MS);
    }
  }
}
