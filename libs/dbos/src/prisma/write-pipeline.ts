/**
 * Group commit: what is ready in one turn of the event loop leaves as one statement on one of a few lanes. No timer,
 * so that nothing waits when the database is idle; while all lanes are busy the next batch grows.
 *
 * Items of one key are kept in order: those that wait leave together, and none leaves before the answer to the ones
 * that left before it.
 */
import { cleanContext } from '../core/clean-context.js';
import { deferred, type Deferred } from '../core/deferred.js';
import { RowRefusedError } from '../core/errors.js';

export interface PipelineSettings<Item, Result> {
  readonly lanes: number;
  /** Most items of one statement. One key's items are never split, so a statement may hold more. */
  readonly maxItems: number;
  /** Most bytes of one statement, likewise. */
  readonly maxBytes: number;
  readonly keyOf: (item: Item) => string;
  readonly bytesOf: (item: Item) => number;
  /** Writes a batch and answers for each item, in order; rejects with RowRefusedError when data is refused. */
  readonly write: (items: Item[]) => Promise<Result[]>;
}

interface Entry<Item, Result> {
  readonly item: Item;
  readonly answer: Deferred<Result>;
}

/**
 * What is ready at once is shared out among the free lanes, so that this process works on the answers to one statement
 * while the server works on another. Fewer keys than this leave together: a statement has a price of its own.
 */
const MIN_SHARE = 32;

/** What waits under one key. */
type Group<Item, Result> = readonly [string, ReadonlyArray<Entry<Item, Result>>];

export class WritePipeline<Item, Result> {
  private readonly inCleanContext = cleanContext();
  private readonly waiting = new Map<string, Array<Entry<Item, Result>>>();
  private readonly inFlight = new Set<string>();
  private busyLanes = 0;
  private flush: NodeJS.Immediate | undefined;

  constructor(private readonly settings: PipelineSettings<Item, Result>) {}

  submit(item: Item): Promise<Result> {
    const answer = deferred<Result>();
    const key = this.settings.keyOf(item);
    const entries = this.waiting.get(key);
    if (entries) entries.push({ item, answer });
    else this.waiting.set(key, [{ item, answer }]);
    this.scheduleFlush();
    return answer.promise;
  }

  /** At the end of the turn, so that whatever the turn still produces leaves in the same statement. */
  private scheduleFlush(): void {
    if (this.busyLanes >= this.settings.lanes) return;
    this.flush ??= setImmediate(() => {
      this.flush = undefined;
      this.inCleanContext(() => this.openLane());
    });
  }

  private openLane(): void {
    const groups = this.takeReady();
    if (groups.length === 0) return;
    this.busyLanes += 1;
    if (this.waiting.size > 0) this.scheduleFlush();
    void this.writeGroups(groups).finally(() => {
      this.busyLanes -= 1;
      for (const [key] of groups) this.inFlight.delete(key);
      if (this.waiting.size > 0) this.scheduleFlush();
    });
  }

  /** The groups that may leave now, oldest first, up to the limits of one statement and the share of one lane. */
  private takeReady(): Array<Group<Item, Result>> {
    const { lanes, maxItems, maxBytes, bytesOf } = this.settings;
    const share = Math.max(MIN_SHARE, Math.ceil(this.waiting.size / (lanes - this.busyLanes)));
    const groups: Array<Group<Item, Result>> = [];
    let items = 0;
    let bytes = 0;
    for (const [key, entries] of this.waiting) {
      if (groups.length === share) break;
      if (this.inFlight.has(key)) continue;
      const groupBytes = entries.reduce((sum, { item }) => sum + bytesOf(item), 0);
      if (groups.length > 0 && (items + entries.length > maxItems || bytes + groupBytes > maxBytes))
        break;
      items += entries.length;
      bytes += groupBytes;
      groups.push([key, entries]);
    }
    for (const [key] of groups) {
      this.waiting.delete(key);
      this.inFlight.add(key);
    }
    return groups;
  }

  /** A refused batch is halved until what is refused stands alone: a bad neighbour harms nobody. */
  private async writeGroups(groups: ReadonlyArray<Group<Item, Result>>): Promise<void> {
    const entries = groups.flatMap(([, group]) => group);
    try {
      const results = await this.settings.write(entries.map(({ item }) => item));
      entries.forEach(({ answer }, index) => answer.resolve(results[index] as Result));
    } catch (error) {
      if (error instanceof RowRefusedError && groups.length > 1) return this.writeHalves(groups);
      if (error instanceof RowRefusedError && entries.length > 1) return this.writeInOrder(entries);
      entries.forEach(({ answer }) => answer.reject(error));
    }
  }

  private async writeHalves(groups: ReadonlyArray<Group<Item, Result>>): Promise<void> {
    const half = Math.ceil(groups.length / 2);
    await this.writeGroups(groups.slice(0, half));
    await this.writeGroups(groups.slice(half));
  }

  /** The items of one key, up to the one that is refused: what comes after it rests on it. */
  private async writeInOrder(entries: ReadonlyArray<Entry<Item, Result>>): Promise<void> {
    for (const [index, { item, answer }] of entries.entries()) {
      try {
        answer.resolve((await this.settings.write([item]))[0] as Result);
      } catch (error) {
        entries.slice(index).forEach((entry) => entry.answer.reject(error));
        return;
      }
    }
  }
}
