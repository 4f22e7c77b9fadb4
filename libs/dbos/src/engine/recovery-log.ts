/** Keeps count of what recovery finds and what becomes of it; the answer to "how far is it?". */

export type RecoveryPhase =
  /** The engine is not launched. */
  | 'idle'
  /** Looking for unfinished workflows. */
  | 'scanning'
  /** Found some; they are being claimed and run. */
  | 'running'
  /** Everything that was found and can run here has been taken up and ended. */
  | 'done';

export interface RecoveryCounts {
  readonly phase: RecoveryPhase;
  /** Unfinished workflows of dead executors (this one before its restart included) that were requeued. */
  readonly found: number;
  /** Recovered workflows that run here now. */
  readonly replaying: number;
  /** Of those that ran here: ended well or went back to waiting. */
  readonly recovered: number;
  /** Of those that ran here: ended with an error. */
  readonly failed: number;
  /** Of those that ran here: set aside as recovered too often. */
  readonly deadLettered: number;
}

export class RecoveryLog {
  private state: RecoveryPhase = 'idle';
  private found = 0;
  private recovered = 0;
  private failed = 0;
  private deadLettered = 0;
  private readonly replaying = new Set<string>();

  scanning(): void {
    this.state = 'scanning';
  }

  requeued(count: number): void {
    this.found += count;
    if (count > 0 || this.state === 'scanning') this.state = 'running';
  }

  began(workflowId: string): void {
    this.replaying.add(workflowId);
  }

  ended(workflowId: string, status: string): void {
    this.replaying.delete(workflowId);
    if (status === 'ERROR') this.failed += 1;
    else if (status === 'MAX_RECOVERY_ATTEMPTS_EXCEEDED') this.deadLettered += 1;
    else if (status === 'SUCCESS' || status === 'parked') this.recovered += 1;
  }

  /** The dispatcher found nothing more to claim. */
  queueDrained(): void {
    if (this.state === 'running' && this.replaying.size === 0) this.state = 'done';
  }

  counts(): RecoveryCounts {
    return {
      phase: this.state,
      found: this.found,
      replaying: this.replaying.size,
      recovered: this.recovered,
      failed: this.failed,
      deadLettered: this.deadLettered,
    };
  }
}
