/** Where an act plays: a fresh process with one contestant, metered from outside. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Contestant, Engine } from './contestant.js';
import { profiled } from './profiler.js';
import type { Answer, Assignment, Message } from './protocol.js';
import { difference, type Counters, type Reading } from './reading.js';
import { Work } from './work.js';

const COMPLETED_POLL_MS = 5;

export class Stage {
  private launched: Engine | undefined;

  constructor(
    readonly contestant: Contestant,
    private readonly assignment: Assignment,
  ) {}

  async launch({ concurrency = 1, work = new Work() } = {}): Promise<Engine> {
    const { url } = this.assignment;
    this.launched = await this.contestant.launch({ url, executorId: 'bench', concurrency, work });
    return this.launched;
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
    const { completedSql: sql } = this.contestant;
    // Bounded by the time limit of the phase.
    while ((await this.ask({ kind: 'completed', sql }, 'completed')).count < total)
      await delay(COMPLETED_POLL_MS);
  }

  /** Tells the director that everything stands where it is to be killed, and waits for that. */
  async holdUntilKilled(): Promise<never> {
    process.send?.({ kind: 'holding' } satisfies Message);
    return new Promise<never>(() => {});
  }

  async close(): Promise<void> {
    await this.launched?.close();
  }

  private async counters(): Promise<Counters> {
    return (await this.ask({ kind: 'counters' }, 'counters')).counters;
  }

  /** One question at a time, so that answers need no number. */
  private ask<Kind extends Answer['kind']>(
    question: Message,
    kind: Kind,
  ): Promise<Extract<Answer, { kind: Kind }>> {
    return new Promise((resolve, reject) => {
      process.once('message', (answer: Answer) => {
        if (answer.kind === kind) resolve(answer as Extract<Answer, { kind: Kind }>);
        else reject(new Error(`Expected ${kind}, got ${answer.kind}.`));
      });
      process.send?.(question);
    });
  }
}
