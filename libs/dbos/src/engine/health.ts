/** How this process and its database are: what is known here at no cost, and one bounded look at the database. */
import type { Clock } from '../core/clock.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { Hearing } from '../repository/notifier.js';
import type { QueueBacklog } from '../repository/queue-repository.js';
import type { UnfinishedCounts } from '../repository/workflow-repository.js';
import type { ApplicationVersion } from './application-version.js';
import type { ExecutorIdentity } from './executor-identity.js';
import type { HealthOptions } from './engine-options.js';
import type { Lease } from './lease.js';
import type { Loop, LoopReport } from './loop.js';
import type { QueueRegistry } from './queue-registry.js';
import type { RecoveryCounts, RecoveryLog } from './recovery-log.js';
import type { WorkflowRegistry } from './registry.js';
import type { Slots } from './slots.js';

/** What needs no question to anybody. */
export interface ProcessHealth {
  readonly executor: {
    readonly id: string;
    /** Whether workflows are claimed and run here. */
    readonly isRunning: boolean;
    /** Since the heartbeat that was confirmed last was sent; null before the first. */
    readonly leaseAgeMs: number | null;
    /** After this long without a heartbeat it is dead to the others. */
    readonly leaseMs: number;
    /** Runs that count against `maxConcurrentWorkflows`, and how many there may be. */
    readonly slots: { readonly used: number; readonly limit: number };
  };
  /** Whether the notifications of other processes come in. */
  readonly notifications: Hearing;
  /** The background duties that are due here. */
  readonly loops: readonly LoopReport[];
}

/** What the database says; of each kind the first thousand are counted. */
export interface DatabaseHealth {
  /** Round trip of one trivial statement. */
  readonly databaseMs: number;
  readonly recovery: RecoveryCounts &
    UnfinishedCounts & { readonly executorId: string; readonly applicationVersion: string | null };
  /** Of the queues that are registered here. */
  readonly queues: readonly QueueBacklog[];
}

export interface EngineHealthParts {
  readonly identity: ExecutorIdentity;
  readonly lease: Lease;
  readonly slots: Slots;
  readonly registry: WorkflowRegistry;
  readonly queues: QueueRegistry;
  readonly version: ApplicationVersion;
  readonly recovery: RecoveryLog;
  readonly clock: Clock;
  readonly repository: CheckpointRepository;
  readonly health: Required<HealthOptions>;
  readonly loops: readonly Loop[];
  readonly isRunning: () => boolean;
}

/** Most that are counted of one status or queue: probes come often, and from every orchestrator. */
const MOST_COUNTED = 1_000;
/** Who asks this soon after a look has begun, and before it has an answer, shares it; one that hangs is nobody's for long. */
const SHARED_FOR_MS = 1_000;

export class EngineHealth {
  private shared: { readonly until: number; readonly look: Promise<DatabaseHealth> } | undefined;

  constructor(private readonly parts: EngineHealthParts) {}

  /** What counts as too slow or too old. */
  get thresholds(): Required<HealthOptions> {
    return this.parts.health;
  }

  process(): ProcessHealth {
    const { identity, lease, slots, repository, loops, isRunning } = this.parts;
    return {
      executor: {
        id: identity.id,
        isRunning: isRunning(),
        leaseAgeMs: lease.ageMs,
        leaseMs: lease.durationMs,
        slots: { used: slots.taken, limit: slots.limit },
      },
      notifications: repository.notifier.hearing,
      loops: loops.filter((loop) => loop.isRunning).map((loop) => loop.health()),
    };
  }

  /** One look for all who ask at once. @throws what the database says */
  database(): Promise<DatabaseHealth> {
    const now = this.parts.clock.monotonic();
    if (this.shared && now < this.shared.until) return this.shared.look;
    const look = this.look();
    this.shared = { until: now + SHARED_FOR_MS, look };
    const over = (): void => void (this.shared?.look === look && (this.shared = undefined));
    look.then(over, over);
    return look;
  }

  private async look(): Promise<DatabaseHealth> {
    const { repository, registry, queues, recovery, identity, version } = this.parts;
    const startedAt = performance.now();
    await repository.ping();
    const databaseMs = Math.round((performance.now() - startedAt) * 10) / 10;
    const names = queues.all().map(({ name }) => name);
    const [unfinished, backlogs] = await Promise.all([
      repository.workflows.countUnfinished(registry.names(), MOST_COUNTED),
      names.length > 0 ? repository.queues.backlogs(names, MOST_COUNTED) : [],
    ]);
    const counts = {
      executorId: identity.id,
      applicationVersion: version.own ?? null,
      ...recovery.counts(),
      ...unfinished,
    };
    return { databaseMs, recovery: counts, queues: backlogs };
  }
}
