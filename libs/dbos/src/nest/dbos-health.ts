/** Whether this process is fit to work, and what is wrong although it is; what the health endpoints report. */
import { Injectable } from '@nestjs/common';
import { Engine, type RecoveryReport } from '../engine/engine.js';
import {
  problemsOfDatabase,
  problemsOfProcess,
  type HealthProblem,
} from '../engine/health-assessment.js';
import type { DatabaseHealth, ProcessHealth } from '../engine/health.js';

export interface DbosReadiness extends ProcessHealth {
  /** Whether it can take work. */
  readonly ready: boolean;
  /** Why it is not. */
  readonly reason?: 'engine not running' | 'lease expired' | 'database unreachable';
  /** What is wrong although it can: empty when all is well. */
  readonly problems: readonly HealthProblem[];
  /** Round trip of one trivial statement. */
  readonly databaseMs?: number;
  /** How recovery stands; of each kind the oldest 1,000 are counted. */
  readonly recovery?: RecoveryReport;
  /** What waits on the queues that are registered here; of each the first 1,000 are counted. */
  readonly queues?: DatabaseHealth['queues'];
}

/** Longest wait of a probe for the database. */
const PROBE_TIMEOUT_MS = 2_000;

@Injectable()
export class DbosHealth {
  constructor(private readonly engine: Engine) {}

  /** Whether the process is alive: never asks the database, whose absence no restart would cure. */
  liveness(): { readonly alive: true } {
    return { alive: true };
  }

  /**
   * Whether the process can take work: launched, not shutting down, owner of a lease, and the database answers. Cheap:
   * three bounded statements, which probes at the same time share.
   */
  async readiness(): Promise<DbosReadiness> {
    const { health } = this.engine;
    const process = health.process();
    const problems = problemsOfProcess(process);
    const unready = this.unready(process);
    if (unready) return { ready: false, reason: unready, problems, ...process };
    try {
      const database = await inTime(health.database());
      const more = problemsOfDatabase(database, health.thresholds);
      return { ready: true, problems: [...problems, ...more], ...process, ...database };
    } catch {
      return { ready: false, reason: 'database unreachable', problems, ...process };
    }
  }

  private unready({ executor }: ProcessHealth): DbosReadiness['reason'] {
    if (executor.isRunning) return undefined;
    const hasExpired = executor.leaseAgeMs !== null && executor.leaseAgeMs >= executor.leaseMs;
    return this.engine.isAdmitted && hasExpired ? 'lease expired' : 'engine not running';
  }
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('The probe timed out.')), PROBE_TIMEOUT_MS);
  });
  return Promise.race([work, timeout]).finally(() => clearTimeout(timer));
}
