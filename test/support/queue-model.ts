// Real processes that do with queues whatever chance says, and are killed and stopped while they do it. What came of it
// is read from outside of them: a log of triggers, a ledger of bodies, the rows at the end.
import type { QueueLimits, QueueOptions } from 'nestjs-dbos';
import { ChildApp, ChildError, type WaitingParcel } from './child-app.js';
import { eventually } from './eventually.js';
import type { Ledger } from './ledger.js';
import type { Evidence, ProcessEnd } from './queue-checker.js';
import { gatherEvidence } from './queue-evidence.js';
import { databaseMicros } from './queue-log.js';

export interface QueueModelSettings {
  readonly url: string;
  readonly ledger: Ledger;
  readonly seed: number;
  readonly processes: number;
  /** Whether processes are killed and stopped. Default true. */
  readonly kills?: boolean;
}

export interface Extent {
  readonly operations: number;
  readonly budgetMs: number;
}

/** Queues whose limits never change, and queues of each kind whose limits do. */
const LINE: QueueOptions = { name: 'line', concurrency: 1 };
const LINES: QueueOptions = { name: 'lines', partition: { concurrency: 1 } };
const QUEUES: readonly QueueOptions[] = [
  LINE,
  LINES,
  { name: 'crew', concurrency: 3, workerConcurrency: 2 },
  { name: 'open' },
  { name: 'paced', rateLimit: { limit: 4, periodMs: 500 } },
  { name: 'parts', concurrency: 4, partition: { concurrency: 2 } },
  { name: 'paced parts', partition: { rateLimit: { limit: 2, periodMs: 400 } } },
];
const CHANGING = QUEUES.filter((queue) => queue !== LINE && queue !== LINES);

const PARTITIONS = ['a', 'b', 'c', 'd'];
const DEDUPLICATION_IDS = ['x', 'y', 'z'];
/** Most that waits on one queue; more would only make the end take longer. */
const MAX_WAITING = 25;
/** Of operations at a time, so that they meet. */
const LANES = 3;
/** How long what is left may take at the end. */
const DRAIN_MS = 60_000;

type Operation =
  | 'enqueue'
  | 'enqueueMany'
  | 'configure'
  | 'pause'
  | 'resume'
  | 'setPriority'
  | 'cancel'
  | 'kill'
  | 'stop';

/** How often each comes, in a thousand. */
const WEIGHTS: ReadonlyArray<readonly [Operation, number]> = [
  ['enqueue', 480],
  ['enqueueMany', 130],
  ['configure', 110],
  ['pause', 50],
  ['resume', 75],
  ['setPriority', 100],
  ['cancel', 30],
  ['kill', 13],
  ['stop', 12],
];

/** What a process may answer that is on its way out, or has been asked for what is there. */
const EXPECTED_CODES: ReadonlySet<string | undefined> = new Set([
  undefined,
  'DBOS_DEDUPLICATED',
  'DBOS_ENGINE_NOT_RUNNING',
  'DBOS_DATABASE_UNAVAILABLE',
]);

export class QueueModel {
  readonly counts: Record<string, number> = {};
  /** What processes answered that nobody expects. */
  readonly surprises: string[] = [];
  readonly ends: ProcessEnd[] = [];
  readonly acknowledged = new Map<string, number>();
  readonly cancelled = new Set<string>();
  private readonly chance: () => number;
  private readonly live: ChildApp[] = [];
  private readonly coming = new Set<Promise<void>>();
  private readonly known: string[] = [];
  private parcels = 0;

  constructor(private readonly settings: QueueModelSettings) {
    this.chance = chanceOf(settings.seed);
  }

  async start(): Promise<void> {
    await Promise.all(Array.from({ length: this.settings.processes }, () => this.startProcess()));
  }

  /** Does so many things, or as many as there is time for. */
  async run({ operations, budgetMs }: Extent): Promise<void> {
    const deadline = performance.now() + budgetMs;
    let left = operations;
    const lane = async (): Promise<void> => {
      while (left > 0 && performance.now() < deadline) {
        left -= 1;
        await this.operate(this.operation());
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
  }

  /** Lets everything go on that waits, under the limits that stand, and waits for it; then ends the processes. */
  async finish(): Promise<void> {
    await this.drain();
    for (const child of this.live.splice(0)) await this.end(child, 'stopped');
  }

  /** What is still to do is done, and nothing more of what was until now is known. */
  async forget(): Promise<void> {
    await this.drain();
    await this.settings.ledger.query(
      `TRUNCATE public.test_queue_log, public.test_ledger, dbos.workflows, dbos.steps, dbos.queue_claims;
       UPDATE dbos.queues SET updated_at = now()`,
    );
    this.acknowledged.clear();
    this.cancelled.clear();
    this.known.length = 0;
  }

  async drain(): Promise<void> {
    await Promise.all(this.coming);
    await Promise.all(
      QUEUES.map(async ({ name }) => {
        await this.live[0]!.onQueue({ what: 'resume', queue: name });
      }),
    );
    await eventually(async () => {
      const unfinished = await this.settings.ledger.query(
        'SELECT id, queue, status FROM dbos.workflows WHERE completed_at IS NULL LIMIT 5',
      );
      if (unfinished.length > 0) throw new Error(`Unfinished: ${JSON.stringify(unfinished)}`);
    }, DRAIN_MS);
  }

  evidence(): Promise<Evidence> {
    return gatherEvidence(this.settings.ledger, this);
  }

  /** What the processes wrote that are still there. */
  get logs(): string {
    return this.live.map(({ log }) => log).join('\n');
  }

  async killAll(): Promise<void> {
    await Promise.allSettled(this.coming);
    for (const child of this.live.splice(0)) await child.kill();
  }

  private async startProcess(): Promise<void> {
    const child = ChildApp.begin({
      url: this.settings.url,
      session: true,
      // Whoever is killed loses its session, which tells at once; whoever merely has no time keeps it.
      leaseMs: 10_000,
      queues: QUEUES,
      options: { parkAfterMs: 30, pollIntervalMs: 500, shutdown: { graceMs: 2_000 } },
    });
    await child.isReady();
    this.live.push(child);
  }

  private async operate(operation: Operation): Promise<void> {
    if (operation === 'kill' || operation === 'stop') return this.endOne(operation);
    this.count(operation);
    const child = this.oneOf(this.live);
    try {
      await this.ask(child, operation);
    } catch (error) {
      if (!(error instanceof ChildError) || !EXPECTED_CODES.has(error.code))
        this.surprises.push(`${operation}: ${String(error)}`);
    }
  }

  private async ask(
    child: ChildApp,
    operation: Exclude<Operation, 'kill' | 'stop'>,
  ): Promise<void> {
    switch (operation) {
      case 'enqueue':
      case 'enqueueMany':
        return this.enqueue(child, operation);
      case 'configure': {
        const { name, partition } = this.oneOf(CHANGING);
        const limits = partition ? this.partitionedLimits() : this.limits();
        return child.onQueue({ what: 'configure', queue: name, limits });
      }
      case 'pause':
      case 'resume':
        return child.onQueue({ what: operation, queue: this.oneOf(QUEUES).name });
      case 'setPriority': {
        const workflowIds = this.someKnown();
        return child.onQueue({ what: 'setPriority', workflowIds, priority: this.upTo(3) - 1 });
      }
      case 'cancel': {
        const workflowIds = this.someKnown().slice(0, 1);
        for (const id of workflowIds) this.cancelled.add(id);
        return child.cancel(...workflowIds);
      }
      default:
        return operation satisfies never;
    }
  }

  private async enqueue(child: ChildApp, operation: 'enqueue' | 'enqueueMany'): Promise<void> {
    const queue = await this.queueWithRoom();
    if (!queue) return;
    if (operation === 'enqueueMany') {
      const items = Array.from({ length: 2 + this.upTo(8) }, () => this.parcelFor(queue));
      return this.acknowledge(await child.enqueue(queue.name, ...items));
    }
    const { parcel, ...options } = this.parcelFor(queue);
    const deduplicated = this.happens(0.2) && {
      deduplicationId: this.oneOf(DEDUPLICATION_IDS),
      deduplication: this.oneOf(['reject', 'attach', 'replace'] as const),
    };
    const item = { args: [parcel], ...options, ...deduplicated };
    const call = { what: 'enqueue', queue: queue.name, name: 'Parcels', item } as const;
    return this.acknowledge([await child.onQueue<string>(call)]);
  }

  private async acknowledge(ids: readonly string[]): Promise<void> {
    const at = await databaseMicros(this.settings.ledger);
    for (const id of ids) {
      if (this.acknowledged.has(id)) continue; // attached to, or replaced
      this.acknowledged.set(id, at);
      this.known.push(id);
    }
  }

  /** One on which not too much waits. */
  private async queueWithRoom(): Promise<QueueOptions | undefined> {
    const rows = await this.settings.ledger.query<{ queue: string }>(
      `SELECT queue FROM dbos.workflows WHERE completed_at IS NULL GROUP BY queue HAVING count(*) >= $1`,
      [MAX_WAITING],
    );
    const full = new Set(rows.map(({ queue }) => queue));
    const free = QUEUES.filter(({ name }) => !full.has(name));
    return free.length > 0 ? this.oneOf(free) : undefined;
  }

  private parcelFor({ partition }: QueueOptions): WaitingParcel {
    const label = `parcel ${(this.parcels += 1)}`;
    return {
      parcel: {
        label,
        ms: 2 + this.upTo(40),
        ...(this.happens(0.1) && { sleepMs: 20 + this.upTo(40) }),
      },
      ...(partition && { partitionKey: this.oneOf(PARTITIONS) }),
      ...(this.happens(0.3) && { priority: this.upTo(3) - 1 }),
      ...(this.happens(0.15) && { delay: this.upTo(300) }),
    };
  }

  private limits(): QueueLimits {
    const concurrency = this.happens(0.6) ? 1 + this.upTo(4) : undefined;
    return {
      ...(concurrency !== undefined && { concurrency }),
      ...(this.happens(0.4) && { workerConcurrency: 1 + this.upTo(concurrency ?? 3) }),
      ...(this.happens(0.4) && { rateLimit: this.rate() }),
    };
  }

  private partitionedLimits(): QueueLimits {
    const byConcurrency = this.happens(0.6);
    return {
      ...this.limits(),
      partition: {
        ...(byConcurrency && { concurrency: 1 + this.upTo(2) }),
        ...((!byConcurrency || this.happens(0.3)) && { rateLimit: this.rate() }),
      },
    };
  }

  private rate(): { limit: number; periodMs: number } {
    return { limit: 2 + this.upTo(5), periodMs: 400 + this.upTo(500) };
  }

  /** Of what was enqueued last; some of it still waits. */
  private someKnown(): string[] {
    const recent = this.known.slice(-30);
    return recent.length === 0 ? [] : Array.from({ length: 4 }, () => this.oneOf(recent));
  }

  private count(operation: Operation): void {
    this.counts[operation] = (this.counts[operation] ?? 0) + 1;
  }

  /** One process at least stays, and another takes the place of the one that ends. */
  private async endOne(operation: 'kill' | 'stop'): Promise<void> {
    if (this.settings.kills === false) return;
    while (this.live.length < 2) await Promise.race(this.coming);
    this.count(operation);
    const [child] = this.live.splice(this.upTo(this.live.length), 1);
    const how = operation === 'kill' ? 'killed' : 'stopped';
    const replacing = this.end(child!, how)
      .then(() => this.startProcess())
      .finally(() => this.coming.delete(replacing));
    this.coming.add(replacing);
  }

  private async end(child: ChildApp, how: ProcessEnd['how']): Promise<void> {
    const at = await databaseMicros(this.settings.ledger);
    await (how === 'killed' ? child.kill() : child.close());
    this.ends.push({ pid: child.pid, how, at });
  }

  private operation(): Operation {
    let rest = this.chance() * WEIGHTS.reduce((sum, [, weight]) => sum + weight, 0);
    const chosen = WEIGHTS.find(([, weight]) => (rest -= weight) < 0);
    return chosen?.[0] ?? 'enqueue';
  }

  private happens(share: number): boolean {
    return this.chance() < share;
  }

  /** From 0 to `count` - 1. */
  private upTo(count: number): number {
    return Math.floor(this.chance() * count);
  }

  private oneOf<T>(list: readonly T[]): T {
    return list[this.upTo(list.length)]!;
  }
}

/** Mulberry32: as good as is needed, and the same for the same seed. */
function chanceOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
