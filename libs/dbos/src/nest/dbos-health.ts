/** Whether this process is fit to work; what the health endpoints report. */
import { Injectable } from '@nestjs/common';
import { Engine, type RecoveryReport } from '../engine/engine.js';
import { CheckpointRepository } from '../repository/checkpoint-repository.js';

export interface DbosReadiness {
  readonly ready: boolean;
  /** Why it is not. */
  readonly reason?: 'engine not running' | 'database unreachable';
  /** Round trip of one trivial statement. */
  readonly databaseMs?: number;
  readonly recovery?: RecoveryReport;
}

/** Longest wait of a probe for the database. */
const PROBE_TIMEOUT_MS = 2_000;

@Injectable()
export class DbosHealth {
  constructor(
    private readonly engine: Engine,
    private readonly repository: CheckpointRepository,
  ) {}

  /** Whether the process is alive: never asks the database, whose absence no restart would cure. */
  liveness(): { readonly alive: true } {
    return { alive: true };
  }

  /** Whether the process can take work: launched, not shutting down, and the database answers. */
  async readiness(): Promise<DbosReadiness> {
    if (!this.engine.isRunning) return { ready: false, reason: 'engine not running' };
    const startedAt = performance.now();
    try {
      await inTime(this.repository.ping());
      const databaseMs = Math.round((performance.now() - startedAt) * 10) / 10;
      return { ready: true, databaseMs, recovery: await inTime(this.engine.recovery()) };
    } catch {
      return { ready: false, reason: 'database unreachable' };
    }
  }
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('The probe timed out.')), PROBE_TIMEOUT_MS);
  });
  return Promise.race([work, timeout]).finally(() => clearTimeout(timer));
}
