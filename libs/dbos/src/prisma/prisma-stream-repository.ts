/** Streams in PostgreSQL: the appends of one turn in one fenced statement, the pages of all readers in another. */
import { RowRefusedError } from '../core/errors.js';
import type { WorkflowStatus } from '../core/status.js';
import type {
  Append,
  AppendAnswer,
  StreamPage,
  StreamPosition,
  StreamRepository,
} from '../repository/stream-repository.js';
import type { Database } from './database.js';
import { encoded } from './rows.js';
import { BATCH } from './start-pipeline.js';
import { WritePipeline } from './write-pipeline.js';

/** Most entries of a page, and how many bytes of values end it: what a reader holds in memory. */
const PAGE_ENTRIES = 100;
const PAGE_BYTES = 64 * 1024;

interface AppendRow {
  place: number;
  owned: boolean;
  closed: boolean;
  offset: number | null;
}

interface EntryRow {
  place: number;
  status: WorkflowStatus | null;
  offset: number | null;
  serialization: string | null;
  value: string | null;
}

export class PrismaStreamRepository implements StreamRepository {
  private readonly pipeline: WritePipeline<Append, AppendAnswer>;

  constructor(private readonly database: Database) {
    this.pipeline = new WritePipeline({
      ...BATCH,
      keyOf: ({ owner }) => owner.workflowId,
      bytesOf: ({ value }) => value?.text.length ?? 0,
      write: (appends) => this.write(appends),
    });
  }

  append(append: Append): Promise<AppendAnswer> {
    return this.pipeline.submit(append);
  }

  private async write(appends: readonly Append[]): Promise<AppendAnswer[]> {
    const given = JSON.stringify(appends.map(appendRow));
    const rows = await this.database.query<AppendRow>(
      (client) => client.$queryRaw`
        SELECT place, owned, closed, "offset"
          FROM dbos.append_to_streams(${given}::json)`,
    );
    const answers = new Map(rows.map((row) => [row.place, answerOf(row)]));
    return appends.map((append, place) => {
      const answer = answers.get(place);
      if (answer === undefined) throw new RowRefusedError(`No answer for "${append.key}".`);
      return answer;
    });
  }

  async read(positions: readonly StreamPosition[]): Promise<StreamPage[]> {
    const asked = JSON.stringify(positions.map(positionRow));
    const rows = await this.database.query<EntryRow>(
      (client) => client.$queryRaw`
        SELECT place, status, "offset", serialization, value
          FROM dbos.read_streams(${asked}::json, ${PAGE_ENTRIES}::integer, ${PAGE_BYTES}::integer)`,
    );
    const pages = positions.map((): OpenPage => ({ status: null, entries: [] }));
    for (const { place, status, offset, value, serialization } of rows) {
      const page = pages[place];
      if (!page) continue;
      page.status = status;
      if (offset !== null) page.entries.push({ offset, value: encoded(value, serialization) });
    }
    return pages;
  }
}

interface OpenPage {
  status: WorkflowStatus | null;
  entries: Array<StreamPage['entries'][number]>;
}

function appendRow(
  { owner, key, value, stepId, name }: Append,
  place: number,
): Record<string, unknown> {
  return {
    place,
    workflow_id: owner.workflowId,
    executor_id: owner.executorId,
    epoch: owner.epoch,
    step_id: stepId,
    name,
    key,
    serialization: value?.format,
    value: value?.text,
  };
}

function positionRow(
  { workflowId, key, fromOffset }: StreamPosition,
  place: number,
): Record<string, unknown> {
  return { place, workflow_id: workflowId, key, from_offset: fromOffset };
}

function answerOf({ owned, closed, offset }: AppendRow): AppendAnswer {
  if (!owned) return 'not owned';
  if (closed || offset === null) return 'closed';
  return { offset };
}
