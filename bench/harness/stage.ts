/** Where an act plays: a fresh process with one contestant, metered from outside. */
import { setTimeout as delay } from 'node:timers/promises';
import type {
  Contestant,
  Engine,
  MessageEngine,
  Parts,
  QueueContestant,
  QueueEngine,
  TransactionEngine,
} from './contestant.js';
import { profiled } from './profiler.js';
import type { Answer, Assignment, Call, Heard, Message } from './protocol.js';
import { difference, type Counters, type Reading } from './reading.js';
import { Work } from './work.js';

const COUNT_POLL_MS = 5;

export class Stage {
  private launched: Pick<Engine, 'close'> | undefined;
  private readonly unheard: Call[] = [];
  private onCall: (call: Call) => void = (call) => void this.unheard.push(call);

  constructor(
    private readonly parts: Parts,
    private readonly assignment: Assignment,
  ) {
    process.on('message', (heard: Heard) => {
      if (heard.kind === 'call') this.onCall(heard.call);
    });
  }

  get contestant(): Contestant {
    return this.part(this.parts.contestant);
  }

  async launch({ concurrency = 1, work = new Work() } = {}): Promise<Engine> {
    const { executorId } = this;
    const { url } = this.assignment;
    const engine = await this.contestant.launch({ url, executorId, concurrency, work });
    this.launched = engine;
    return engine;
  }

  async launchQueue({
    concurrency = 1,
    work = new Work(),
    listens = true,
  } = {}): Promise<QueueEngine> {
    const { executorId } = this;
    const { url } = this.assignment;
    const queue = await this.queue.launch({ url, executorId, concurrency, work, listens });
    this.launched = queue;
    return queue;
  }

  async launchMessages({ concurrency = 1, work = new Work() } = {}): Promise<MessageEngine> {
    const { executorId } = this;
    const { url } = this.assignment;
    const { messages } = this.parts;
    const engine = await this.part(messages).launch({ url, executorId, concurrency, work });
    this.launched = engine;
    return engine;
  }

  async launchTransactions({ work = new Work() } = {}): Promise<TransactionEngine> {
    const { executorId } = this;
    const { url } = this.assignment;
    const { transactions } = this.parts;
    const settings = { url, executorId, concurrency: 1, work };
    const engine = await this.part(transactions).launch(settings);
    this.launched = engine;
    return engine;
  }

  /** Runs `work` between two readings of all counters; the readings themselves cost it nothing. */
  async meter(work: () => Promise<void>): Promise<Reading> {
    const { profile } = this.assignment;
    const before = await this.counters();
    const cpu = process.cpuUsage();
    const start = performance.now();
    await (profile === undefined ? work() : profiled(profile, work));
    const elapsedMs = performance.now() - start;
    const { user, system } = process.cpuUsage(cpu);
    const after = await this.counters();
    return { ...difference(before, after), elapsedMs, nodeCpuMs: (user + system) / 1_000 };
  }

  /** Resolves once the table shows `total` workflows that ended well. */
  async completed(total: number): Promise<void> {
    // Bounded by the time limit of the phase.
    while ((await this.count(this.contestant.completedSql)) < total) await delay(COUNT_POLL_MS);
  }

  /** Resolves once the tables show that no job waits or runs any more. */
  async drained(): Promise<void> {
    // Bounded likewise.
    while ((await this.count(this.queue.unfinishedSql)) > 0) await delay(COUNT_POLL_MS);
  }

  /** Puts a past into the tables, which the contestant has made, and leaves them as a server does that keeps up. */
  async fill(workflows: number): Promise<void> {
    const statements = this.part(this.parts.pastSql)(workflows);
    await this.ask(
      { kind: 'run', statements: [...statements, 'VACUUM (ANALYZE)', 'CHECKPOINT'] },
      'ran',
    );
  }

  /** Calls out to the processes that play at the same time: `Director.together` tells to which. */
  callOut(call: Call): void {
    process.send?.({ kind: 'call', call } satisfies Message);
  }

  /** Hands over what others call out, and what they have called out so far. */
  hear(onCall: (call: Call) => void): void {
    this.onCall = onCall;
    for (const call of this.unheard.splice(0)) onCall(call);
  }

  /** Tells the director that everything stands where it is to be killed, and waits for that. */
  async holdUntilKilled(): Promise<never> {
    process.send?.({ kind: 'holding' } satisfies Message);
    return new Promise<never>(() => {});
  }

  /** The number that a statement of the act's own counts. */
  async count(sql: string): Promise<number> {
    return (await this.ask({ kind: 'count', sql }, 'count')).count;
  }

  async close(): Promise<void> {
    await this.launched?.close();
  }

  private get queue(): QueueContestant {
    return this.part(this.parts.queue);
  }

  /** A first process has the same name in each act, so that it finds again what it owned. */
  private get executorId(): string {
    const { player } = this.assignment;
    return player === 0 ? 'bench' : `bench-${player}`;
  }

  private part<T>(part: T | undefined): T {
    if (part !== undefined) return part;
    const { contestant, scenario } = this.assignment;
    throw new Error(`${contestant} has no part to play in ${scenario}.`);
  }

  private async counters(): Promise<Counters> {
    return (await this.ask({ kind: 'counters' }, 'counters')).counters;
  }

  /** One question at a time, so that answers need no number. */
  private ask<Kind extends Answer['kind']>(
    question: Message,
    kind: Kind,
  ): Promise<Extract<Answer, { kind: Kind }>> {
    return new Promise((resolve) => {
      const listener = (heard: Heard): void => {
        if (heard.kind !== kind) return;
        process.off('message', listener);
        resolve(heard as Extract<Answer, { kind: Kind }>);
      };
      process.on('message', listener);
      process.send?.(question);
    });
  }
}
