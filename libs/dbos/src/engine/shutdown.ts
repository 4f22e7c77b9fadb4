/** The graceful end of an executor: stop claiming, let work end, abort the rest, hand back what is unfinished. */
import type { Clock } from '../core/clock.js';
import { ExecutorStoppingError } from '../core/errors.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { Dispatcher } from './dispatcher.js';
import type { ShutdownTimes } from './engine-options.js';
import type { Executor } from './executor.js';
import type { ExecutorIdentity } from './executor-identity.js';
import type { Membership } from './membership.js';
import type { Recovery } from './recovery.js';
import type { Starter } from './starter.js';

export interface ShutdownParts {
  readonly identity: ExecutorIdentity;
  readonly repository: CheckpointRepository;
  readonly starter: Starter;
  readonly executor: Executor;
  readonly dispatcher: Dispatcher;
  readonly membership: Membership;
  readonly recoveryLoop: Recovery;
}

/** How long workflow code may take to unwind once its run was interrupted. */
const UNWIND_MS = 500;
/** How long the hand-over may take; without it the lease runs out by itself. */
const HAND_BACK_MS = 5_000;

export class Shutdown {
  constructor(
    private readonly parts: ShutdownParts,
    private readonly clock: Clock,
  ) {}

  async run({ drainMs, graceMs }: ShutdownTimes): Promise<void> {
    const { starter, executor, dispatcher, membership, recoveryLoop } = this.parts;
    dispatcher.halt();
    recoveryLoop.halt();
    if (drainMs > 0) await this.within(drainMs, executor.allEnded());
    starter.close();
    executor.running.forEach((run) => run.haltBeforeNextStep());
    await this.within(graceMs, Promise.all([executor.quiet(), starter.settled()]));
    executor.interruptAll((id) => new ExecutorStoppingError(id));
    await this.within(UNWIND_MS, executor.allEnded());
    membership.halt();
    await this.within(HAND_BACK_MS, this.handBack());
  }

  /** Unfinished work stays unfinished: others go on with it at once, without counting it as a recovery. */
  private async handBack(): Promise<void> {
    const { repository, membership, dispatcher, identity } = this.parts;
    await dispatcher.stop(); // a claim that is under way must not come after the hand-over
    const executorIds = [identity.id];
    while ((await repository.queues.requeue({ executorIds, countsAsRecovery: false })).length > 0)
      repository.notifier.notify('work');
    await repository.notifier.flush();
    await membership.leave();
  }

  /** Whatever comes of the work, shutdown goes on after this long. */
  private within(ms: number, work: Promise<unknown>): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.clock.schedule(ms, resolve);
      work
        .then(
          () => resolve(),
          () => resolve(),
        )
        .finally(() => timer.cancel());
    });
  }
}
