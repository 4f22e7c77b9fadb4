/** Tells workers that there is work: those of this process at once, those of others by NOTIFY, some in one call. */
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';

/** NOTIFY takes a lock of the whole server at its commit: not with every job, and not in the job's own transaction. */
const PACE_MS = 10;
const CHANNEL = 'jobs';

export class Bell {
  private listener: pg.Client | undefined;
  private onRing: () => void = () => undefined;
  private isAnnouncing = false;
  private isUnannounced = false;

  constructor(
    private readonly pool: pg.Pool,
    private readonly executorId: string,
  ) {}

  ring(): void {
    this.onRing();
    this.isUnannounced = true;
    if (!this.isAnnouncing) void this.announce();
  }

  async listen(url: string, onRing: () => void): Promise<void> {
    this.onRing = onRing;
    this.listener = new pg.Client(url);
    this.listener.on('notification', ({ payload }) => {
      if (payload !== this.executorId) onRing();
    });
    await this.listener.connect();
    await this.listener.query(`LISTEN ${CHANNEL}`);
  }

  async close(): Promise<void> {
    await this.listener?.end();
  }

  private async announce(): Promise<void> {
    this.isAnnouncing = true;
    while (this.isUnannounced) {
      this.isUnannounced = false;
      await this.pool.query({
        name: 'announce',
        text: 'SELECT pg_notify($1, $2)',
        values: [CHANNEL, this.executorId],
      });
      await delay(PACE_MS);
    }
    this.isAnnouncing = false;
  }
}
