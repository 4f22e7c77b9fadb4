/** Durable sleep: what is recorded is the moment of waking, so that a restart sleeps only the rest. */
import { wait, type Clock } from '../core/clock.js';
import { momentMs, type Duration } from '../core/duration.js';
import { checkpoint } from './checkpoint.js';
import type { DatabaseTime } from './database-time.js';
import type { RunScope } from './run-scope.js';

const NAME = 'flow.sleep';

export class Sleeper {
  constructor(
    private readonly clock: Clock,
    private readonly time: DatabaseTime,
    /** A wait longer than this leaves memory. */
    private readonly parkAfterMs: number,
  ) {}

  async sleep(scope: RunScope, until: Duration | Date): Promise<void> {
    const requested = momentMs('A sleep', until, this.time.nowMs()); // refused before an id is used
    const stepId = scope.sequence.takeId();
    const operation = { name: NAME, effect: false, produce: () => requested };
    const wakeAtMs = await checkpoint(scope, operation, stepId);
    await this.waitUntil(scope, wakeAtMs, stepId);
  }

  private async waitUntil(
    { run, sequence }: RunScope,
    wakeAtMs: number,
    stepId: string,
  ): Promise<void> {
    const remainingMs = wakeAtMs - this.time.nowMs();
    if (remainingMs <= 0) return;
    const report = { attempts: 1, awaits: { kind: 'moment', untilMs: wakeAtMs } } as const;
    const activity = { stepId, name: NAME, startedAt: performance.now(), report };
    run.activities.begin(activity);
    run.enter();
    const parkable = remainingMs > this.parkAfterMs;
    const end = parkable ? run.presence.waitLong({ wakeAtMs }) : run.presence.waitShort();
    try {
      await wait(this.clock, remainingMs, sequence.signal);
    } catch {
      run.assertGoing(sequence); // the signal said that the run or the branch is over
    } finally {
      end();
      run.activities.end(activity);
      run.leave();
      await run.untilForgotten(sequence);
    }
  }
}
