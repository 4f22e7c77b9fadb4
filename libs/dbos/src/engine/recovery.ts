/** Sends the work of dead executors back to the queue; from there the ordinary claims bring it back to life. */
import type { Logger } from '../core/logger.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { Diagnostics } from './diagnostics.js';
import { Loop, type LoopSettings } from './loop.js';
import type { RecoveryLog } from './recovery-log.js';
import type { Stranded } from './stranded.js';

export interface RecoveryParts {
  readonly repository: CheckpointRepository;
  readonly recovery: RecoveryLog;
  readonly diagnostics: Diagnostics;
  readonly logger: Logger;
  /** What nobody alive may take up after that is told of. */
  readonly stranded: Pick<Stranded, 'look'>;
  /** Workflows went back to the queue. */
  readonly onRequeued: () => void;
}

/** A loop of its own, so that no heartbeat ever waits for a recovery, however much there is to recover. */
export class Recovery extends Loop {
  private dead: ReadonlySet<string> = new Set();

  constructor(
    private readonly parts: RecoveryParts,
    settings: Omit<LoopSettings, 'name'>,
  ) {
    super({ ...settings, name: 'Recovery' });
  }

  /** The heartbeat has seen these executors dead. */
  found(dead: readonly string[]): void {
    if (dead.length === 0) return;
    this.dead = new Set([...this.dead, ...dead]);
    this.wake();
  }

  async tick(): Promise<void> {
    const executorIds = [...this.dead];
    if (executorIds.length === 0) return;
    await this.requeueOwnedBy(executorIds);
    await this.parts.repository.executors.bury(executorIds);
    // Whoever could not be dealt with completely is found again by the next heartbeat.
    this.dead = new Set([...this.dead].filter((id) => !executorIds.includes(id)));
  }

  /** A bounded batch at a time, so that no statement holds up the rest. */
  private async requeueOwnedBy(executorIds: readonly string[]): Promise<void> {
    const { repository, recovery, diagnostics, logger, onRequeued } = this.parts;
    let total = 0;
    for (;;) {
      const requeued = await repository.queues.requeue({ executorIds, countsAsRecovery: true });
      if (requeued.length === 0) break;
      total += requeued.length;
      recovery.requeued(requeued.map(({ id }) => id));
      diagnostics.recovered(executorIds, requeued);
      onRequeued();
    }
    if (total === 0) return;
    logger.log(`Recovering ${total} unfinished workflow${total === 1 ? '' : 's'}`, {
      executorIds,
      total,
    });
    await this.parts.stranded.look();
  }
}
