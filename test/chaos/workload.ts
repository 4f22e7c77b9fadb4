// What is asked of the fleet, until it is accepted, and what must become of it.
import { ChaosProcess, Refused } from './chaos-process.js';
import type { Order, Release } from './chaos-protocol.js';
import type { Fleet } from './fleet.js';
import { machineTime } from './marks.js';

export type WorkKind =
  'chain' | 'long' | 'releases' | 'queues' | 'messages' | 'poison' | 'duplicates';

/** What somebody was told would happen. */
export interface Promised {
  readonly id: string;
  readonly status: 'SUCCESS' | 'MAX_RECOVERY_ATTEMPTS_EXCEEDED';
  /** The results it may have. */
  readonly outputs: readonly unknown[];
  /** How often the table of transactions must name it. */
  readonly rows: number;
}

const STEPS = 6;
const INSIDE = 5;
const OUTSIDE = 4;
const RETRY_MS = 100;

export class Workload {
  /** Everything that was ordered, accepted or not: whoever has a row must come to its end. */
  readonly promised = new Map<string, Promised>();
  readonly accepted = new Set<string>();
  readonly refusals: string[] = [];
  private readonly pending = new Set<Promise<void>>();
  private count = 0;

  constructor(
    private readonly fleet: Fleet,
    private readonly random: () => number,
    private readonly prefix: string,
  ) {}

  /** Orders one more of each kind, without waiting for anything. */
  add(kinds: readonly WorkKind[]): void {
    for (const kind of kinds) {
      const n = (this.count += 1);
      this[kind](`${this.prefix}-${kind}-${n}`, n);
    }
  }

  chain(id: string): void {
    const total = (STEPS * (STEPS - 1)) / 2;
    this.start(id, 'Chain', [STEPS, Math.floor(this.random() * 30)], [total], STEPS / 3);
  }

  /** Bodies that are likely to be at work when something happens, and nothing between them. */
  private long(id: string): void {
    const total = (STEPS * (STEPS - 1)) / 2;
    const ms = 150 + Math.floor(this.random() * 350);
    this.start(id, 'Chain', [STEPS, ms, 0], [total], STEPS / 3);
  }

  /** Resolves once all was accepted, or nobody accepts any more. */
  async settled(): Promise<void> {
    while (this.pending.size > 0) await Promise.all(this.pending);
  }

  /** What came with the newest version, which some processes may not have yet. */
  private releases(id: string): void {
    const { version } = this.fleet;
    const ms = 10 + Math.floor(this.random() * 100);
    this.start(id, `Release${version}`, [ms], [`version ${version}`], 1);
  }

  private queues(id: string, n: number): void {
    const ms = 20 + Math.floor(this.random() * 60);
    for (const queue of ['global', 'worker', 'rated'])
      this.enqueue(`${id}-${queue}`, { queue, args: [ms, { queue }] });
    const partition = `p${n % 3}`;
    this.enqueue(`${id}-parts`, {
      queue: 'parts',
      args: [ms, { queue: 'parts', partition }],
      partitionKey: partition,
    });
    // Several at once under one deduplication id: those that are not taken are not promised.
    for (let copy = 0; copy < 3; copy += 1)
      this.enqueue(`${id}-single-${copy}`, {
        queue: 'single',
        args: [ms, { queue: 'single', partition: `d${n % 2}` }],
        deduplicationId: `d${n % 2}`,
      });
  }

  private messages(id: string): void {
    const to = `${id}-receiver`;
    const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at);
    const output = [...numbers(INSIDE), ...numbers(OUTSIDE)].join(' ');
    this.start(to, 'Receiver', [INSIDE, OUTSIDE], [output]);
    this.track(async () => {
      await this.until({ what: 'start', name: 'Receiver', id: to, args: [INSIDE, OUTSIDE] });
      this.start(`${id}-sender`, 'Sender', [to, INSIDE], [INSIDE]);
      for (const value of numbers(OUTSIDE))
        await this.until({ what: 'send', to, value, key: `${to}-${value}` });
    });
  }

  private poison(id: string): void {
    this.promise({ id, status: 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', outputs: [], rows: 0 });
    this.submit({ what: 'start', name: 'Poison', id, args: [] });
  }

  private duplicates(id: string): void {
    const inputs = [0, 1, 2, 3];
    this.promise({ id, status: 'SUCCESS', outputs: inputs, rows: 0 });
    for (const input of inputs) this.submit({ what: 'start', name: 'Once', id, args: [input] });
  }

  private start(
    id: string,
    name: 'Chain' | 'Receiver' | 'Sender' | Release,
    args: readonly unknown[],
    outputs: readonly unknown[],
    rows = 0,
  ): void {
    this.promise({ id, status: 'SUCCESS', outputs, rows });
    this.submit({ what: 'start', name, id, args });
  }

  private enqueue(
    id: string,
    {
      args,
      ...order
    }: Omit<Order & { what: 'enqueue' }, 'what' | 'id' | 'args'> & {
      args: [number, { queue: string; partition?: string }];
    },
  ): void {
    const [, { queue, partition = '' }] = args;
    this.promise({ id, status: 'SUCCESS', outputs: [`${queue} ${partition}`], rows: 0 });
    this.submit({ what: 'enqueue', id, args, ...order });
  }

  private promise(promised: Promised): void {
    this.promised.set(promised.id, promised);
  }

  private submit(order: Order): void {
    this.track(async () => void this.accepted.add(await this.until(order)));
  }

  private track(work: () => Promise<void>): void {
    const tracked = work()
      .catch((error: unknown) => void this.refusals.push(String(error)))
      .finally(() => this.pending.delete(tracked));
    this.pending.add(tracked);
  }

  /** Asks one process after the other until one has it; resolves with the id of what took it. */
  private async until(order: Order): Promise<string> {
    const choice = this.random();
    let last = 'nobody was ready';
    for (let attempt = 0; machineTime() < this.giveUpAt; attempt += 1) {
      const process = this.fleet.ready((choice + attempt * 0.37) % 1);
      if (process) {
        const answer = await ask(process, order);
        if ('id' in answer) return answer.id;
        last = answer.error;
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    throw new Error(`${JSON.stringify(order)} was not accepted: ${last}`);
  }

  /** Set when the faults are over. */
  giveUpAt = Infinity;
}

type Answer = { readonly id: string } | { readonly error: string };

/** What may be repeated is not thrown; that a workflow exists under another name or input never comes about here. */
async function ask(process: ChaosProcess, order: Order): Promise<Answer> {
  try {
    return { id: await process.order(order) };
  } catch (error) {
    return {
      error: error instanceof Refused ? `${error.code} ${error.message}` : String(error),
    };
  }
}
