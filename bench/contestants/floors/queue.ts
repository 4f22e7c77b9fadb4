/** The smallest queue that is still durable: claims for as many jobs as there are free places, one claim at a time. */
import { randomUUID } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import pg from 'pg';
import type { QueueContestant, QueueEngine, QueueSettings } from '../../harness/contestant.js';
import { Bell } from './bell.js';
import { claim, enqueueMany, requeue, type Intake, type Waiting } from './queue-store.js';
import { CONNECTION_OPTIONS, UNFINISHED_SQL, createTables } from './schema.js';
import type { Store } from './store.js';

/** Without any notification the table is looked at as often as this. */
const POLL_MS = 1_000;

export interface Kit {
  readonly store: new (pool: pg.Pool, executorId: string) => Store;
  readonly intake: new (pool: pg.Pool) => Intake;
}

export function floorQueue(kit: Kit): QueueContestant {
  return {
    unfinishedSql: UNFINISHED_SQL,
    launch: async (settings) => {
      const pool = new pg.Pool({ connectionString: settings.url, options: CONNECTION_OPTIONS });
      await createTables(pool);
      if (settings.listens) await requeue(pool, settings.executorId);
      return new FloorQueue(pool, settings, kit);
    },
  };
}

class FloorQueue implements QueueEngine {
  private readonly store: Store;
  private readonly intake: Intake;
  private readonly bell: Bell;
  private readonly polling = setInterval(() => this.wake(), POLL_MS);
  private isListening = false;
  private isClaiming = false;
  private isWoken = false;
  private running = 0;

  constructor(
    private readonly pool: pg.Pool,
    private readonly settings: QueueSettings,
    kit: Kit,
  ) {
    this.store = new kit.store(pool, settings.executorId);
    this.intake = new kit.intake(pool);
    this.bell = new Bell(pool, settings.executorId);
  }

  async enqueue(index: number): Promise<void> {
    await this.intake.enqueue(waiting(index));
    this.bell.ring();
  }

  async enqueueMany(indexes: readonly number[]): Promise<void> {
    await enqueueMany(this.pool, indexes.map(waiting));
    this.bell.ring();
  }

  async listen(): Promise<void> {
    await this.bell.listen(this.settings.url, () => this.wake());
    this.isListening = true;
    this.wake();
  }

  async close(): Promise<void> {
    clearInterval(this.polling);
    this.isListening = false;
    await this.bell.close();
    await this.pool.end();
  }

  private wake(): void {
    this.isWoken = true;
    if (this.isListening && !this.isClaiming) void this.claimWhileThereIs();
  }

  /** Goes on as long as a claim brings all it asked for, or somebody has called meanwhile. */
  private async claimWhileThereIs(): Promise<void> {
    this.isClaiming = true;
    while (this.isWoken && this.free > 0) {
      await turn(); // others that end in this turn of the event loop leave places too
      this.isWoken = false;
      const asked = this.free;
      const jobs = await claim(this.pool, this.settings.executorId, asked);
      this.running += jobs.length;
      for (const job of jobs) void this.run(job);
      if (jobs.length === asked) this.isWoken = true;
    }
    this.isClaiming = false;
  }

  private get free(): number {
    return this.settings.concurrency - this.running;
  }

  private async run({ id, input }: Waiting): Promise<void> {
    const { work } = this.settings;
    work.job(JSON.parse(input) as number);
    const output = JSON.stringify(await work.step(0));
    await this.store.record({ workflowId: id, stepId: 0, output });
    const result = work.end(JSON.parse(output) as number, 1);
    await this.store.finish({ id, output: JSON.stringify(result) });
    this.running -= 1;
    if (this.isWoken) this.wake();
  }
}

function waiting(index: number): Waiting {
  return { id: randomUUID(), input: JSON.stringify(index) };
}
