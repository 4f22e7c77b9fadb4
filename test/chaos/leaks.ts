// An hour's traffic in minutes: `npm run chaos:leaks -- --seed 7 --seconds 180`. What the process holds, its connections and
// the rows of the tables must level off in the second half. Exits with 1 where something goes on growing.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { migrateDatabase } from '../../libs/dbos/src/prisma/migrate-database.js';
import { Ledger } from '../support/ledger.js';
import { ChaosServer } from './chaos-server.js';
import type { FromLeakProgram, Holdings, LeakOrder } from './leak-program.js';
import { levelsOff, trendOf, type Allowance } from './levelling.js';

const PROGRAM = fileURLToPath(new URL('./leak-program.ts', import.meta.url));
const LOADER = new URL('../support/typescript-loader.mjs', import.meta.url).href;
/** Fewer tell nothing of a trend. */
const MIN_SAMPLES = 10;

/** What is held by what is under way goes up and down with it. */
const ALLOWANCES: Readonly<Record<string, Allowance>> = {
  heapKiB: { share: 0.03, atLeast: 1_024 },
  externalKiB: { share: 0.1, atLeast: 1_024 },
  timers: { share: 0.25, atLeast: 20 },
  handles: { share: 0.1, atLeast: 4 },
  listeners: { share: 0.1, atLeast: 20 },
  connections: { share: 0.1, atLeast: 3 },
};
const ROWS: Allowance = { share: 0.3, atLeast: 40 };

const say = (line: string): void => void process.stdout.write(`${line}\n`);

class Observer {
  private constructor(private readonly ledger: Ledger) {}

  static async open(url: string): Promise<Observer> {
    const ledger = await Ledger.open(url);
    await ledger.query(
      `CREATE TABLE public.leak_books (id integer PRIMARY KEY, sold integer NOT NULL)`,
    );
    await ledger.query(
      `INSERT INTO public.leak_books SELECT n, 0 FROM generate_series(0, 15) AS n`,
    );
    return new Observer(ledger);
  }

  /** Of every table of the library, and the connections of others. */
  async counts(): Promise<Holdings> {
    const tables = await this.ledger.query<{ name: string }>(
      `SELECT tablename AS name FROM pg_tables WHERE schemaname = 'dbos' AND tablename <> '_prisma_migrations' ORDER BY 1`,
    );
    const parts = tables.map(
      ({ name }) =>
        `SELECT ${pg.escapeLiteral(`rows of ${name}`)} AS what, count(*)::int AS count FROM dbos.${pg.escapeIdentifier(name)}`,
    );
    const rows = await this.ledger.query<{ what: string; count: number }>(
      `${parts.join(' UNION ALL ')} UNION ALL
       SELECT 'connections', count(*)::int FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    );
    return Object.fromEntries(rows.map(({ what, count }) => [what, count]));
  }

  async close(): Promise<void> {
    await this.ledger.close();
  }
}

interface Soak {
  readonly workflows: number;
  readonly failures: readonly string[];
  readonly samples: readonly Holdings[];
}

/** Resolves when the process has ended; what it tells is joined with what the server has at that moment. */
async function soak(order: LeakOrder, observer: Observer): Promise<Soak> {
  const child = fork(PROGRAM, { execArgv: ['--expose-gc', '--import', LOADER] });
  const samples: Array<Promise<Holdings>> = [];
  try {
    const end = await new Promise<FromLeakProgram & { what: 'done' }>((resolve, reject) => {
      child.on('message', (message: FromLeakProgram) => {
        if (message.what === 'done') return resolve(message);
        samples.push(observer.counts().then((counts) => ({ ...message.holdings, ...counts })));
      });
      child.once('exit', (code, signal) =>
        reject(new Error(`The process ended with ${signal ?? code}.`)),
      );
      child.send(order);
    });
    return { ...end, samples: await Promise.all(samples) };
  } finally {
    child.removeAllListeners();
    child.kill('SIGKILL');
  }
}

/** How many of the measured things go on growing. */
function verdict(samples: readonly Holdings[]): number {
  if (samples.length < MIN_SAMPLES)
    throw new Error(`${samples.length} samples tell nothing: give it more seconds.`);
  let leaks = 0;
  for (const name of Object.keys(samples[0] ?? {})) {
    const trend = trendOf(samples.map((sample) => sample[name] ?? 0));
    const isLevel = levelsOff(trend, ALLOWANCES[name] ?? ROWS);
    const [mean, growth] = [Math.round(trend.mean), Math.round(trend.growth)];
    if (isLevel) say(`${name}: about ${mean}, ${growth >= 0 ? '+' : ''}${growth}`);
    else say(`  leak: ${name} grow by ${growth} in the second half, to a mean of ${mean}`);
    if (!isLevel) leaks += 1;
  }
  return leaks;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      seconds: { type: 'string', default: '180' },
    },
  });
  const [seed, seconds] = [Number(values.seed), Number(values.seconds)];
  if (!Number.isInteger(seed) || !(seconds > 0))
    throw new Error('Usage: --seed <whole number> --seconds <number>');
  say(`seed ${seed}`);
  const server = await ChaosServer.start();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void server.close().finally(() => process.exit(1)));
  try {
    await server.createDatabase('leaks');
    const url = server.url('leaks');
    await migrateDatabase(url);
    const observer = await Observer.open(url);
    const { workflows, failures, samples } = await soak({ url, seed, seconds }, observer);
    await observer.close();
    const leaks = verdict(samples);
    for (const failure of failures) say(`  failure: ${failure}`);
    say(`${workflows} orders in ${seconds} s, ${leaks} leaks, ${failures.length} failures`);
    process.exitCode = leaks + failures.length === 0 ? 0 : 1;
  } finally {
    await server.close();
  }
}

await main();
