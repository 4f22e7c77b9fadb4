/** Removes workflows that ended long ago: a loop that takes one batch in a tick, so that it never holds up anybody. */
import type { Logger } from '../core/logger.js';
import type { TerminalStatus } from '../core/status.js';
import type { RetentionRepository } from '../repository/retention-repository.js';
import { Loop, type LoopSettings } from './loop.js';
import type { RetentionRule, RetentionRules } from './retention-rules.js';

export type RemovedCounts = Readonly<Record<TerminalStatus, number>>;

/** What this process has removed since its start. */
export interface RetentionReport {
  /** Sweeps that were done to the end. */
  readonly sweeps: number;
  readonly lastSweepAt: Date | null;
  /** By the last sweep. */
  readonly lastRemoved: RemovedCounts;
  /** By all of them, the one that is under way included. */
  readonly removed: RemovedCounts;
}

export interface RetentionParts {
  readonly retention: RetentionRepository;
  readonly rules: RetentionRules;
  readonly logger: Logger;
}

/** One walk through the outcomes for which there are rules. */
interface Sweep {
  readonly left: readonly RetentionRule[];
  /** Of the first rule: where the newest begin that are kept, and how far the walk is. */
  readonly keptFrom: string | undefined;
  readonly after: string | undefined;
  readonly removed: RemovedCounts;
}

const NONE: RemovedCounts = {
  SUCCESS: 0,
  ERROR: 0,
  CANCELLED: 0,
  MAX_RECOVERY_ATTEMPTS_EXCEEDED: 0,
};
/** Shortest rest between two batches. */
const MIN_REST_MS = 10;

export class Retention extends Loop {
  private sweep: Sweep | undefined;
  private underWay: Promise<boolean> | undefined;
  private sweeps = 0;
  private lastSweepAt: Date | null = null;
  private lastRemoved = NONE;
  private removed = NONE;

  constructor(
    private readonly parts: RetentionParts,
    private readonly surroundings: Omit<LoopSettings, 'name' | 'intervalMs'>,
  ) {
    super({ ...surroundings, name: 'Retention', intervalMs: parts.rules.intervalMs });
  }

  report(): RetentionReport {
    const { sweeps, lastSweepAt, lastRemoved, removed } = this;
    return { sweeps, lastSweepAt, lastRemoved, removed };
  }

  /** One batch. Then it rests as long as that took, and after the last batch of a sweep for an interval. */
  async tick(): Promise<number | void> {
    const { clock } = this.surroundings;
    const startedAt = clock.monotonic();
    if (await this.batch()) return undefined;
    return Math.max(MIN_REST_MS, clock.monotonic() - startedAt);
  }

  /** A whole sweep without rests, from where the one under way is; resolves with what it has removed. */
  async finishSweep(): Promise<RemovedCounts> {
    while (!(await this.batch()));
    return this.lastRemoved;
  }

  /** @returns whether the sweep is done */
  private batch(): Promise<boolean> {
    this.underWay ??= this.takeBatch().finally(() => (this.underWay = undefined));
    return this.underWay;
  }

  private async takeBatch(): Promise<boolean> {
    const { retention, rules } = this.parts;
    const sweep = this.sweep ?? (await this.at(rules.rules, NONE));
    const [rule, ...others] = sweep.left;
    if (!rule) return this.done(sweep);
    const { outcome, maxAgeMs } = rule;
    const { keptFrom, after } = sweep;
    const size = rules.batchSize;
    const batch = await retention.remove({ outcome, maxAgeMs, keptFrom, after, size });
    if (batch.isBusy) return this.done(sweep); // another process does the same
    this.removed = plus(this.removed, outcome, batch.removed);
    const removed = plus(sweep.removed, outcome, batch.removed);
    if (batch.reached !== undefined) this.sweep = { ...sweep, after: batch.reached, removed };
    else this.sweep = await this.at(others, removed);
    return this.sweep.left.length > 0 ? false : this.done(this.sweep);
  }

  /** At the beginning of the first of these rules. */
  private async at(left: readonly RetentionRule[], removed: RemovedCounts): Promise<Sweep> {
    const [rule] = left;
    const keptFrom =
      rule?.maxCount === undefined
        ? undefined
        : await this.parts.retention.oldestKept(rule.outcome, rule.maxCount);
    return { left, keptFrom, after: undefined, removed };
  }

  private done({ removed }: Sweep): true {
    this.sweep = undefined;
    this.sweeps += 1;
    this.lastSweepAt = new Date(this.surroundings.clock.now());
    this.lastRemoved = removed;
    const total = Object.values(removed).reduce((sum, count) => sum + count, 0);
    if (total > 0) {
      const what = `${total} workflow${total === 1 ? '' : 's'}`;
      this.parts.logger.log(`Retention removed ${what} that had ended`, { ...removed });
    }
    return true;
  }
}

function plus(counts: RemovedCounts, outcome: TerminalStatus, more: number): RemovedCounts {
  return { ...counts, [outcome]: counts[outcome] + more };
}
