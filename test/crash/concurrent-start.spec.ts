// Several processes start at once on an empty database, and some die doing it.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { migrateDatabase } from '../../libs/dbos/src/prisma/migrate-database.js';
import { createEmptyDatabase } from '../support/empty-database.js';

const LOADER = new URL('../support/typescript-loader.mjs', import.meta.url).href;
const PROGRAM = fileURLToPath(new URL('./migrating-process.ts', import.meta.url));

const ROUNDS = 20;
const PROCESSES = 5;
/** The process that gets through first asks this often: once to begin, then before each statement up to the commit. */
const QUESTIONS = 12;

interface Kill {
  /** The first process to ask this many times dies. */
  readonly question: number;
  /** It dies before its statement is sent, or while the database is at it. */
  readonly answered: boolean;
}

interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly errors: string;
}

const seed = Number(process.env['CRASH_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const random = mulberry32(seed);

const rounds = Array.from({ length: ROUNDS }, (_, index) => {
  const kill: Kill | undefined =
    index % 2 === 0
      ? undefined
      : { question: 1 + Math.floor(random() * QUESTIONS), answered: random() < 0.5 };
  return { round: index + 1, kill, fate: fateOf(kill) };
});

function fateOf(kill: Kill | undefined): string {
  if (kill === undefined) return 'nobody dies';
  return `one dies ${kill.answered ? 'at' : 'before'} statement ${kill.question - 1}`;
}

/** A small generator of random numbers that can be repeated from its seed. */
function mulberry32(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Starts processes, lets none of them begin before all are there, and returns how each of them ended. */
async function startTogether(url: string, count: number, kill?: Kill): Promise<Ending[]> {
  const waiting: Array<() => void> = [];
  let victim: number | undefined;
  return Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const child = fork(PROGRAM, [url], {
        execArgv: ['--import', LOADER],
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      });
      let errors = '';
      child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()));
      let questions = 0;
      child.on('message', () => {
        questions += 1;
        const doomed = kill?.question === questions && victim === undefined;
        if (doomed) victim = index;
        const answer = (): void => {
          if (!doomed || kill.answered) child.send('go on');
          if (doomed) child.kill('SIGKILL');
        };
        if (questions > 1) return answer();
        waiting.push(answer);
        if (waiting.length === count) waiting.forEach((begin) => begin());
      });
      return new Promise<Ending>((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (code, signal) => resolve({ code, signal, errors }));
      });
    }),
  );
}

/** All that makes a migrated database: what it contains, and what its books say. */
async function shapeOf(url: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ line: string }>(`
    SELECT table_name || '.' || column_name || ' ' || data_type AS line
      FROM information_schema.columns WHERE table_schema = 'dbos'
    UNION ALL
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'dbos'
    UNION ALL
    SELECT concat_ws(' ', migration_name, checksum, finished_at IS NOT NULL, rolled_back_at, applied_steps_count)
      FROM dbos._prisma_migrations
    ORDER BY 1`);
  await client.end();
  return rows.map(({ line }) => line);
}

async function withEmptyDatabase<T>(work: (url: string) => Promise<T>): Promise<T> {
  const database = await createEmptyDatabase();
  try {
    return await work(database.url);
  } finally {
    await database.drop();
  }
}

const up = { code: 0, signal: null, errors: '' };

describe(`B65: ${PROCESSES} processes start at once on an empty database (CRASH_SEED=${seed})`, () => {
  let expected: unknown[];

  beforeAll(async () => {
    expected = await withEmptyDatabase(async (url) => {
      await migrateDatabase(url);
      return shapeOf(url);
    });
  });

  it.each(rounds)('B65: round $round, $fate: all of them come up', async ({ kill }) => {
    await withEmptyDatabase(async (url) => {
      const endings = await startTogether(url, PROCESSES, kill);

      const killed = endings.filter(({ signal }) => signal === 'SIGKILL');
      expect(killed).toHaveLength(kill === undefined ? 0 : 1);
      expect(endings.filter((ending) => !killed.includes(ending))).toEqual(
        Array.from({ length: PROCESSES - killed.length }, () => up),
      );
      // Whoever was killed is started again by its supervisor.
      expect(await startTogether(url, killed.length)).toEqual(killed.map(() => up));
      expect(await shapeOf(url)).toEqual(expected);
    });
  });
});
