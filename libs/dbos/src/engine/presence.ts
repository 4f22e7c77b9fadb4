/** Whether a run is at work, waits, or waits so long that it need not stay in memory. */

import { deferred, type Deferred } from '../core/deferred.js';

/** What happens as the presence of a run changes; set by the executor. */
export interface PresenceObserver {
  /** Nothing but waits for others or for long is left: the run needs no slot. */
  idle(): void;
  /** A wait has ended in an idle run. */
  resumed(): void;
  /** Nothing but long waits is left. Resolves to true when the run has been parked in the database. */
  park(until: ParkedUntil): Promise<boolean>;
  /** The run has been parked: its code is to be forgotten, timers and all. */
  forget(until: ParkedUntil): void;
}

/** What ends the waits of a run: the first of their moments, if they have any, or a message on one of their topics. */
export interface ParkedUntil {
  readonly wakeAt: Date | undefined;
  readonly topics: readonly string[];
}

/** A wait that need not happen in memory. */
interface LongWait {
  /** `Infinity` for one that only a message ends. */
  readonly wakeAtMs: number;
  readonly topic?: string;
}

export class Presence {
  private active = 0;
  private yieldingWaits = 0;
  private shortWaits = 0;
  private readonly longWaits = new Set<LongWait>();
  private observer: PresenceObserver | undefined;
  private isIdle = false;
  private assessment: NodeJS.Immediate | undefined;
  private interrupted = false;
  private quiet: Deferred<void> | undefined;

  /** Set while the run is being parked; resolves to whether it was. */
  parking: Promise<boolean> | undefined;
  /** The run has left memory. */
  parked = false;

  observe(observer: PresenceObserver): void {
    this.observer = observer;
  }

  /** An operation has begun. */
  enter(): void {
    this.active += 1;
  }

  /** An operation has ended. */
  leave(): void {
    this.active -= 1;
    if (this.active > 0) return;
    if (this.waits > 0) this.assess();
    if (this.quiet) setImmediate(() => this.settleQuiet());
  }

  /** Whether any operation has begun and not ended, waits included. */
  get isAtWork(): boolean {
    return this.active > 0 || this.waits > 0;
  }

  /** Resolves when no operation is at work; what waits is not at work. */
  whenQuiet(): Promise<void> {
    if (this.active === 0) return Promise.resolve();
    this.quiet ??= deferred<void>();
    return this.quiet.promise;
  }

  private settleQuiet(): void {
    if (this.active > 0) return;
    this.quiet?.resolve();
    this.quiet = undefined;
  }

  /**
   * The calling operation waits for another workflow, which may need the slot of this one, or for long, but in memory:
   * the slot is given back.
   * @returns ends the wait
   */
  waitYielding(): () => void {
    this.yieldingWaits += 1;
    return this.begun(() => (this.yieldingWaits -= 1));
  }

  /**
   * The calling operation waits a moment. The run keeps its slot, so that short waits do not fill the memory with runs.
   * @returns ends the wait
   */
  waitShort(): () => void {
    this.shortWaits += 1;
    return this.begun(() => (this.shortWaits -= 1));
  }

  /**
   * The calling operation waits so long that the run can leave memory meanwhile.
   * @returns ends the wait
   */
  waitLong(wait: LongWait): () => void {
    const entry = { ...wait };
    this.longWaits.add(entry);
    return this.begun(() => this.longWaits.delete(entry));
  }

  /** The run is over or interrupted: nothing is assessed any more. */
  interrupt(): void {
    this.interrupted = true;
    this.observer = undefined; // a wait that ends later must not take a slot
    if (this.assessment) clearImmediate(this.assessment);
  }

  private get waits(): number {
    return this.yieldingWaits + this.shortWaits + this.longWaits.size;
  }

  private begun(end: () => void): () => void {
    this.leave();
    return () => {
      this.active += 1;
      end();
      if (!this.isIdle) return;
      this.isIdle = false;
      this.observer?.resumed();
    };
  }

  /**
   * Decides once the current turn of the event loop is over: until then other branches may still take up work.
   */
  private assess(): void {
    if (this.active > 0 || this.interrupted || this.assessment) return;
    this.assessment = setImmediate(() => {
      this.assessment = undefined;
      if (this.active > 0 || this.waits === 0 || this.interrupted) return;
      if (this.shortWaits > 0) return;
      this.becomeIdle();
      if (this.yieldingWaits === 0 && !this.parking) void this.tryPark();
    });
  }

  private becomeIdle(): void {
    if (this.isIdle) return;
    this.isIdle = true;
    this.observer?.idle();
  }

  private async tryPark(): Promise<void> {
    const { observer } = this;
    const until = endOf([...this.longWaits]);
    this.parking = observer?.park(until);
    this.parked = (await this.parking) ?? false;
    this.parking = undefined;
    if (!this.parked) return;
    this.interrupt();
    observer?.forget(until);
  }
}

function endOf(waits: readonly LongWait[]): ParkedUntil {
  const wakeAtMs = Math.min(...waits.map((wait) => wait.wakeAtMs));
  return {
    wakeAt: wakeAtMs === Infinity ? undefined : new Date(wakeAtMs),
    topics: waits.flatMap(({ topic }) => (topic === undefined ? [] : [topic])),
  };
}
