/** Removes what is kept of transactions in databases of the application once their workflows have ended. */
import type { CompletionRepository, CompletionSweep } from '../repository/completion-repository.js';
import { Loop, type LoopSettings } from './loop.js';

const INTERVAL_MS = 10 * 60_000;
/** A former owner that was frozen must find what its successor did; no transaction is open for so long. */
const OLDER_THAN_MS = 60 * 60_000;
const SIZE = 1_000;
/** Between two batches of one sweep. */
const REST_MS = 100;

const BEGINNING: CompletionSweep = {
  olderThanMs: OLDER_THAN_MS,
  size: SIZE,
  database: 0,
  after: undefined,
};

export class CompletionCleanup extends Loop {
  private next = BEGINNING;

  constructor(
    private readonly completions: CompletionRepository,
    settings: Omit<LoopSettings, 'name' | 'intervalMs'>,
  ) {
    super({ ...settings, name: 'Cleaning up after transactions', intervalMs: INTERVAL_MS });
  }

  async tick(): Promise<number | void> {
    const next = await this.completions.sweep(this.next);
    this.next = next ?? BEGINNING;
    return next && REST_MS;
  }
}
