// What workflows take of a process's memory: next to nothing while they sleep, one payload at a time while they run.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startDirectEngine } from '../support/direct-engine.js';
import { writeActive } from '../support/history.js';
import type { MemoryReport, MemoryTask } from '../support/memory-protocol.js';
import { StatementCounter } from '../support/statement-counter.js';
import { TableReads } from '../support/table-reads.js';

const PROGRAM = fileURLToPath(new URL('../support/memory-program.ts', import.meta.url));
const LOADER = new URL('../support/typescript-loader.mjs', import.meta.url).href;
const MEBIBYTE = 2 ** 20;

const SLEEPERS = 5_000;
const STEPS = 100;

let database: TestDatabase;
const children: ChildProcess[] = [];

beforeEach(async () => {
  database = await createTestDatabase();
});

afterEach(async () => {
  for (const child of children.splice(0)) await kill(child);
  await database.drop();
});

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

/** Resolves with what a process of its own reports; it goes on living. */
async function report(task: MemoryTask): Promise<{ child: ChildProcess; memory: MemoryReport }> {
  const child = fork(PROGRAM, {
    execArgv: ['--expose-gc', '--import', LOADER],
    env: { ...process.env, MEMORY_SETTINGS: JSON.stringify({ url: database.url, task }) },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  children.push(child);
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`The process ended with ${code} before it had reported.`);
  });
  ended.catch(() => undefined);
  const [memory] = (await Promise.race([once(child, 'message'), ended])) as [MemoryReport];
  return { child, memory };
}

/** For whoever reads the log: how far from the limits. */
function print(what: string, { before, peak, after }: MemoryReport): void {
  const mebibytes = (bytes: number): string => `${(bytes / MEBIBYTE).toFixed(1)} MiB`;
  process.stdout.write(
    `${what}: heap ${mebibytes(before.heap)}, at most ${mebibytes(peak.heap)}, in the end ` +
      `${mebibytes(after.heap)}; resident ${mebibytes(before.resident)}, ${mebibytes(peak.resident)}, ` +
      `${mebibytes(after.resident)}\n`,
  );
}

describe('5,000 workflows that sleep for an hour', () => {
  it('take 512 bytes of heap each at most', async () => {
    const { memory } = await report({ what: 'sleep', warmUp: 300, sleepers: SLEEPERS });
    print('5,000 sleepers', memory);
    expect((memory.after.heap - memory.before.heap) / SLEEPERS).toBeLessThan(512);
    // 20 MB on a quiet machine, but what is resident goes up and down by more than that with the load of others.
    expect(memory.after.resident - memory.before.resident).toBeLessThan(50_000_000);
  }, 240_000);
});

describe('A workflow of 100 steps that return a mebibyte each', () => {
  it('holds few of them at a time, also when it is taken up again', async () => {
    const first = await report({ what: 'carry', steps: STEPS });
    print('100 mebibytes', first.memory);
    await kill(first.child);
    const second = await report({ what: 'carry on' });
    print('100 mebibytes again', second.memory);

    expect(first.memory.peak.heap - first.memory.before.heap).toBeLessThan(30_000_000);
    // The replay begins with the text of the whole history, and forgets of it what it has recalled.
    expect(second.memory.peak.heap - second.memory.before.heap).toBeLessThan(
      1.3 * STEPS * MEBIBYTE,
    );
    expect(second.memory.after.heap - second.memory.before.heap).toBeLessThan(30_000_000);
  }, 240_000);
});

const countable = (await TableReads.isPossible()) && (await StatementCounter.isPossible());
const reason = countable ? '' : ' (skipped: this server does not count)';

(countable ? describe : describe.skip)(`A launch beside 100,000 sleepers${reason}`, () => {
  it('sends as many statements as beside none, and reads few of them', async () => {
    const alone = await launched();
    const admin = new pg.Client({ connectionString: database.url });
    await admin.connect();
    await writeActive(admin, {
      status: 'DELAYED',
      count: 100_000,
      prefix: 'sleeper ',
      name: 'Sum',
    });
    await admin.end();
    const beside = await launched();

    expect(beside.statements).toBeLessThanOrEqual(alone.statements);
    expect(beside.reads.scannedRows).toBeLessThan(100); // a table that is nearly empty may be read from end to end
    // Of each kind 10,000 are counted.
    expect(beside.reads.entries).toBeLessThan(11_000);
  }, 240_000);

  /** What a process costs up to its first result. */
  async function launched() {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    const client = new PrismaClient({ adapter: new PrismaPg(pool) });
    const counter = await StatementCounter.open(database);
    const tables = await TableReads.open(database.url, [pool]);
    let statements = 0;
    const reads = await tables.during(async () => {
      const sent = await counter.during(async () => {
        const { engine, sum } = await startDirectEngine(client, {}, { pollIntervalMs: 600_000 });
        await sum(1);
        await engine.shutdown();
      });
      const ours = sent.filter(({ sql }) => !sql.includes('dbos.heartbeat'));
      statements = ours.reduce((total, { calls }) => total + calls, 0);
    });
    await counter.close();
    await tables.close();
    await client.$disconnect();
    await pool.end();
    return { statements, reads };
  }
});
