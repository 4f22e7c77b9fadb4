/** One reader of one stream: drains what is there a page at a time, waits for more, ends with the stream or its writer. */
import { WorkflowNotFoundError } from '../core/errors.js';
import { isTerminal } from '../core/status.js';
import type {
  StreamEntry,
  StreamPage,
  StreamPosition,
  StreamRepository,
} from '../repository/stream-repository.js';
import { LiveReader, type Taken, type Wait } from './live-reader.js';
import type { OutcomeCodec } from './outcome.js';
import type { RunScopes } from './run-scope.js';
import type { Watch } from './watch.js';

/** Entries in the order of offsets; none: the writer has ended and has left nothing more. */
type News = readonly StreamEntry[];

export type StreamWatch = Watch<StreamPosition, News>;

export interface StreamReaderParts {
  readonly watch: StreamWatch;
  readonly scopes: RunScopes;
  readonly codec: OutcomeCodec;
}

/** A value and where it stood. */
interface Item {
  readonly offset: number;
  readonly value: unknown;
}

/** One statement for all who wait. A page comes before the end: who is told of an end has had all that led to it. */
export async function readStreams(
  streams: StreamRepository,
  positions: readonly StreamPosition[],
): Promise<Array<News | Error | undefined>> {
  const pages = await streams.read(positions);
  return pages.map((page, index) => newsOf(page, positions[index]?.workflowId ?? ''));
}

function newsOf({ status, entries }: StreamPage, workflowId: string): News | Error | undefined {
  if (status === null) return new WorkflowNotFoundError(workflowId);
  if (entries.length > 0 || isTerminal(status)) return entries;
  return undefined;
}

export class StreamReader<T> extends LiveReader<T, Item, StreamPosition, News> {
  /** Read, and taken up to `taken`; the next page is asked for when nothing of it is left. */
  private page: News = [];
  private taken = 0;

  constructor(
    private readonly parts: StreamReaderParts,
    private position: StreamPosition,
  ) {
    super(parts.watch, parts.scopes);
  }

  protected get operation(): string {
    return `readStream ${this.position.key}`;
  }

  protected async take(wait: Wait<StreamPosition, News>): Promise<Taken<Item>> {
    if (this.taken >= this.page.length && !this.isOver) {
      this.page = (await wait(this.position)) ?? [];
      this.taken = 0;
    }
    const entry = this.page[this.taken];
    if (!entry?.value || this.isOver) return { end: true };
    this.taken += 1;
    try {
      return { offset: entry.offset, value: this.parts.codec.serializers.decode(entry.value) };
    } catch (error) {
      this.end();
      throw error;
    }
  }

  protected pass({ offset, value }: Item): T {
    this.position = { ...this.position, fromOffset: offset + 1 };
    return value as T;
  }

  protected override end(): void {
    super.end();
    this.page = [];
  }
}
