/** Events in PostgreSQL: what is asked for side by side is read by one statement. */
import type {
  EventAddress,
  EventReading,
  EventRepository,
} from '../repository/event-repository.js';
import type { Database } from './database.js';
import { encoded } from './rows.js';
import { BATCH } from './start-pipeline.js';
import { WritePipeline } from './write-pipeline.js';

interface EventRow {
  place: number;
  isOver: boolean;
  serialization: string | null;
  value: string | null;
}

export class PrismaEventRepository implements EventRepository {
  /** Reads, gathered as writes are. One lane: thousands may ask at once, and others need the pool as well. */
  private readonly reads: WritePipeline<EventAddress, EventReading>;

  constructor(private readonly database: Database) {
    this.reads = new WritePipeline({
      ...BATCH,
      lanes: 1,
      keyOf: ({ workflowId }) => workflowId,
      bytesOf: ({ key }) => key.length,
      write: (events) => this.read(events),
    });
  }

  latest(event: EventAddress): Promise<EventReading> {
    return this.reads.submit(event);
  }

  private async read(events: readonly EventAddress[]): Promise<EventReading[]> {
    const asked = JSON.stringify(
      events.map(({ workflowId, key }, place) => ({ place, workflow_id: workflowId, key })),
    );
    const rows = await this.database.query<EventRow>(
      (client) => client.$queryRaw`
        SELECT place, is_over AS "isOver", serialization, value
          FROM dbos.latest_events(${asked}::json)`,
    );
    const byPlace = new Map(rows.map((row) => [row.place, row]));
    return events.map((_, place) => readingOf(byPlace.get(place)));
  }
}

function readingOf(row: EventRow | undefined): EventReading {
  if (!row) return { value: undefined, isOver: false };
  return { value: encoded(row.value, row.serialization) ?? undefined, isOver: row.isOver };
}
