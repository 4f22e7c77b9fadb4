/** Processes that take jobs out of one queue, and how the one that leads them sees them. */
import type { Begun } from './protocol.js';
import type { Sample } from './scenario.js';
import type { Stage } from './stage.js';
import { Tally } from './tally.js';
import { Work } from './work.js';

/** The leader's side. */
export class Crew {
  /** Workers that are launched and wait to be told to listen. */
  readonly ready = new Tally();
  /** Jobs whose body has begun, wherever. */
  readonly begun = new Tally();
  /** All of them, as they became known. */
  readonly jobs: Begun[] = [];

  constructor(private readonly stage: Stage) {
    stage.hear((call) => {
      if (call.says === 'ready') this.ready.add();
      else if (call.says === 'begun') for (const job of call.jobs) this.note(job);
    });
  }

  listen(): void {
    this.stage.callOut({ says: 'listen' });
  }

  end(): void {
    this.stage.callOut({ says: 'end' });
  }

  /** @throws when a job has begun more than once, or not at all */
  checkLedger(jobs: number): void {
    const distinct = new Set(this.jobs.map(({ index }) => index)).size;
    const doubled = this.jobs.length - distinct;
    const lost = jobs - distinct;
    if (doubled > 0 || lost > 0)
      throw new Error(`Of ${jobs} jobs ${lost} never ran, and ${doubled} runs were not the first.`);
  }

  private note(job: Begun): void {
    this.jobs.push(job);
    this.begun.add();
  }
}

/** The act before: makes the schema. Not everybody lets several processes do that at once. */
export async function prepare(stage: Stage, concurrency: number): Promise<Sample> {
  await stage.launchQueue({ concurrency });
  return { value: 0 };
}

/** The act of a worker. What it measures is its own CPU time, in milliseconds. */
export async function workInCrew(
  stage: Stage,
  { concurrency, reportMs }: { readonly concurrency: number; readonly reportMs: number },
): Promise<Sample> {
  const work = new Work();
  let unreported: Begun[] = [];
  const report = (): void => {
    stage.callOut({ says: 'begun', jobs: unreported });
    unreported = [];
  };
  work.onJob = (job) => {
    if (unreported.push(job) === 1) setTimeout(report, reportMs);
  };
  const queue = await stage.launchQueue({ work, concurrency });
  const cpu = process.cpuUsage();
  await new Promise<void>((resolve, reject) => {
    stage.hear(({ says }) => {
      if (says === 'listen') queue.listen().catch(reject);
      else if (says === 'end') resolve();
    });
    stage.callOut({ says: 'ready' });
  });
  const { user, system } = process.cpuUsage(cpu);
  return { value: (user + system) / 1_000 };
}
