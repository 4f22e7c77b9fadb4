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
  /** Of those that were found and ran here: ended well or went back to waiting. */
  readonly recovered: number;
  /** Of those, ended with an error. */
  readonly failed: number;
  /** Of those, set aside as recovered too often. */
  readonly setAside: number;
}

export class RecoveryLog {
  private state: RecoveryPhase = 'idle';
  private found = 0;
  private recovered = 0;
  private failed = 0;
  private setAside = 0;
  /** Found, and not run here yet. What others take of it is forgotten when the queue is drained. */
  private readonly awaited = new Set<string>();
  private readonly replaying = new Set<string>();

  scanning(): void {
    this.state = 'scanning';
  }

  requeued(workflowIds: readonly string[]): void {
    this.found += workflowIds.length;
    for (const id of workflowIds) this.awaited.add(id);
    if (workflowIds.length > 0 || this.state === 'scanning') this.state = 'running';
  }

  /** A run has begun; only the first one of a workflow that was found is its recovery. */
  began(workflowId: string): void {
    if (this.awaited.delete(workflowId)) this.replaying.add(workflowId);
  }

  ended(workflowId: string, status: string): void {
    if (!this.replaying.delete(workflowId)) return;
    if (status === 'ERROR') this.failed += 1;
    else if (status === 'MAX_RECOVERY_ATTEMPTS_EXCEEDED') this.setAside += 1;
    else if (status === 'SUCCESS' || status === 'parked') this.recovered += 1;
  }

  /** The dispatcher found nothing more to claim. */
  queueDrained(): void {
    if (this.state !== 'running' || this.replaying.size > 0) return;
    this.state = 'done';
    this.awaited.clear();
  }

  counts(): RecoveryCounts {
    return {
      phase: this.state,
      found: this.found,
      replaying: this.replaying.size,
      recovered: this.recovered,
      failed: this.failed,
      setAside: this.setAside,
    };
  }
}
