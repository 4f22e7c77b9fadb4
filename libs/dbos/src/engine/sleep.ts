/** Durable sleep: what is recorded is the moment of waking, so that a restart sleeps only the rest. */
import { wait, type Clock } from '../core/clock.js';
import { momentMs, type Duration } from '../core/duration.js';
import { checkpoint } from './checkpoint.js';
import type { DatabaseTime } from './database-time.js';
import type { RunScope } from './run-scope.js';

export class Sleeper {
  constructor(
    private readonly clock: Clock,
    private readonly time: DatabaseTime,
    /** A wait longer than this leaves memory. */
    private readonly parkAfterMs: number,
  ) {}

  async sleep(scope: RunScope, until: Duration | Date): Promise<void> {
    const requested = momentMs('A sleep', until, this.time.nowMs()); // refused before an id is used
    const wakeAtMs = await checkpoint(scope, {
      name: 'flow.sleep',
      effect: false,
      produce: () => requested,
    });
    await this.waitUntil(scope, wakeAtMs);
  }

  private async waitUntil({ run, sequence }: RunScope, wakeAtMs: number): Promise<void> {
    const remainingMs = wakeAtMs - this.time.nowMs();
    if (remainingMs <= 0) return;
    run.enter();
    const parkable = remainingMs > this.parkAfterMs;
    const end = parkable ? run.presence.waitLong({ wakeAtMs }) : run.presence.waitShort();
    try {
      await wait(this.clock, remainingMs, sequence.signal);
    } catch {
      run.assertGoing(sequence); // the signal said that the run or the branch is over
    } finally {
      end();
      run.leave();
      await run.untilForgotten(sequence);
    }
  }
}
