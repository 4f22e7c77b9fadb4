/** One reader of one stream: drains what is there a page at a time, waits for more, ends with the stream or its writer. */
import { WorkflowNotFoundError } from '../core/errors.js';
import { isTerminal } from '../core/status.js';
import type {
  StreamEntry,
  StreamPage,
  StreamPosition,
  StreamRepository,
} from '../repository/stream-repository.js';
import { checkpoint } from './checkpoint.js';
import type { LiveIterator } from './live-values.js';
import type { OutcomeCodec } from './outcome.js';
import type { RunScope, RunScopes } from './run-scope.js';
import type { Watch } from './watch.js';

/** Entries in the order of offsets; none: the writer has ended and has left nothing more. */
type News = readonly StreamEntry[];

export type StreamWatch = Watch<StreamPosition, News>;

export interface StreamReaderParts {
  readonly watch: StreamWatch;
  readonly scopes: RunScopes;
  readonly codec: OutcomeCodec;
}

/** What one `next` brings, and where it stood: what is recorded in a workflow. */
type Taken<T> = { readonly offset: number; readonly value: T } | { readonly end: true };

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

export class StreamReader<T> implements LiveIterator<T> {
  /** Read, and taken up to `taken`; the next page is asked for when nothing of it is left. */
  private page: News = [];
  private taken = 0;
  private isOver = false;
  private turn: Promise<unknown> = Promise.resolve();
  private stopWaiting: ((reason?: Error) => void) | undefined;

  constructor(
    private readonly parts: StreamReaderParts,
    private position: StreamPosition,
  ) {}

  /** Calls are answered in order. In a workflow each is a checkpointed operation, its id taken when it is made. */
  next(): Promise<IteratorResult<T, undefined>> {
    const scope = this.parts.scopes.current;
    if (!scope || scope.step) {
      return this.inTurn(async () => this.resultOf(await this.take(() => this.wait(scope))));
    }
    const stepId = scope.sequence.takeId();
    return this.inTurn(async () => this.resultOf(await this.takeInWorkflow(scope, stepId)));
  }

  /** Whoever waits is told of the end at once. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.end();
    return { done: true, value: undefined };
  }

  private end(): void {
    this.isOver = true;
    this.page = [];
    this.stopWaiting?.();
  }

  private inTurn<R>(work: () => Promise<R>): Promise<R> {
    const result = this.turn.then(work);
    this.turn = result.catch(() => undefined);
    return result;
  }

  private takeInWorkflow(scope: RunScope, stepId: string): Promise<Taken<T>> {
    const operation = {
      name: `readStream ${this.position.key}`,
      effect: false,
      produce: () => this.take(() => this.waitInWorkflow(scope)),
    };
    return checkpoint(scope, operation, stepId);
  }

  private resultOf(taken: Taken<T>): IteratorResult<T, undefined> {
    if ('end' in taken) {
      this.end();
      return { done: true, value: undefined };
    }
    // On a replay nothing was read: what was recorded says where to go on.
    this.position = { ...this.position, fromOffset: taken.offset + 1 };
    return { done: false, value: taken.value };
  }

  private async take(nextPage: () => Promise<News>): Promise<Taken<T>> {
    if (this.taken >= this.page.length && !this.isOver) {
      this.page = await nextPage();
      this.taken = 0;
    }
    const entry = this.page[this.taken];
    if (!entry?.value || this.isOver) return { end: true };
    this.taken += 1;
    try {
      const value = this.parts.codec.serializers.decode(entry.value) as T;
      return { offset: entry.offset, value };
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** The run may be needed elsewhere meanwhile: it gives its slot back, as for the result of another workflow. */
  private async waitInWorkflow(scope: RunScope): Promise<News> {
    const end = scope.run.presence.waitYielding();
    try {
      return await this.wait(scope);
    } finally {
      end();
    }
  }

  /** Nothing when the reader is left meanwhile. @throws why the run, or the attempt of a step, must not go on */
  private async wait(scope: RunScope | undefined): Promise<News> {
    const signal = scope?.step?.signal ?? scope?.sequence.signal;
    signal?.throwIfAborted();
    const waiting = this.parts.watch.ask(this.position);
    const stopped = new Promise<News>((resolve, reject) => {
      this.stopWaiting = (reason) => {
        waiting.cancel();
        if (reason === undefined) resolve([]);
        else reject(reason);
      };
    });
    const onAbort = (): void => this.stopWaiting?.(signal?.reason as Error);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([waiting.answer, stopped]);
    } catch (error) {
      this.isOver = true;
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.stopWaiting = undefined;
    }
  }
}
