// Whatever the workflow and wherever its processes die: the result is the one without a crash, and no body whose
// checkpoint was committed runs again. A failing run prints its seed; TEST_SEED (and TEST_PATH) repeat it.
import * as fc from 'fast-check';
import { ChildApp } from '../support/child-app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { startGatedApp, type GatedApp } from '../support/gated-app.js';
import { Ledger } from '../support/ledger.js';
import type { Gate, GateMoment } from '../support/statement-gates.js';
import {
  expectedResult,
  expectedWorkflows,
  programs,
  RandomProgram,
  Traces,
  type Program,
} from '../support/random-program.js';

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000_000);
/** The path of a counterexample repeats it and makes it smaller, which takes too long for a test run. */
const PATH = process.env['TEST_PATH'];
const REPEATED = { seed: SEED, endOnFailure: PATH === undefined, ...(PATH && { path: PATH }) };

/** On a busy machine a property is checked less often rather than the test fails. */
const BUDGET_MS = 20_000;

function whileTimeLasts<T extends unknown[]>(
  property: (...values: T) => Promise<void>,
): (...values: T) => Promise<void> {
  const deadline = performance.now() + BUDGET_MS;
  return async (...values) => {
    if (performance.now() < deadline) await property(...values);
  };
}

/** How often each body of each workflow left word, as `workflow place`. */
type Counts = Map<string, number>;

class TracesInMemory extends Traces {
  readonly counts: Counts = new Map();

  leave(workflowId: string, place: string): void {
    const key = `${workflowId} ${place}`;
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
  }
}

/** Which bodies a crash must not repeat, and how often they had run by then. */
interface Standing {
  readonly counts: ReadonlyMap<string, number>;
  readonly checkpoints: readonly string[];
}

let database: TestDatabase;
let ledger: Ledger;

async function checkpoints(): Promise<string[]> {
  const rows = await ledger.query<{ key: string }>(
    `SELECT workflow_id || ' ' || name AS key FROM dbos.steps WHERE name LIKE '/%'`,
  );
  return rows.map(({ key }) => key);
}

/** What was checkpointed at any death has run no further. */
function expectNoRepetition(deaths: readonly Standing[], counts: Counts): void {
  for (const standing of deaths) {
    const repeated = standing.checkpoints.filter(
      (key) => counts.get(key) !== standing.counts.get(key),
    );
    expect(repeated).toEqual([]);
  }
}

/** Whoever saw a step begin may rely on those before it: their checkpoints had been committed. */
function expectDurableBeforeNext({ counts, checkpoints: standing }: Standing): void {
  const committed = new Set(standing);
  const missing = [...counts.keys()].flatMap((key) => {
    const [, sequence, index] = /^(.*\/)(\d+)$/.exec(key) ?? [];
    const before = Array.from({ length: Number(index ?? 0) }, (_, at) => `${sequence}${at}`);
    return before.filter((earlier) => counts.has(earlier) && !committed.has(earlier));
  });
  expect(missing).toEqual([]);
}

async function expectWorkflows(count: number): Promise<void> {
  expect(await ledger.query('SELECT FROM dbos.workflows')).toHaveLength(count);
}

beforeEach(async () => {
  process.stdout.write(`TEST_SEED=${SEED}\n`);
  database = await createTestDatabase();
  ledger = await Ledger.open(database.url);
  await ledger.create();
});

afterEach(async () => {
  await ledger.close();
  await database.drop();
});

const clear = (): Promise<unknown> =>
  ledger.query('TRUNCATE dbos.workflows, dbos.steps, dbos.executors, public.test_ledger');

/** A death at the n-th statement of a kind in a life, before it is sent or after it was committed. */
interface Death {
  readonly statement: string;
  readonly after: number;
  readonly moment: GateMoment;
}

const deaths: fc.Arbitrary<Death[]> = fc.array(
  fc.record({
    statement: fc.oneof(
      { weight: 5, arbitrary: fc.constant('dbos.write_transitions') },
      { weight: 1, arbitrary: fc.constant('dbos.start_workflows') },
      { weight: 1, arbitrary: fc.constant('dbos.claim_workflows') },
    ),
    after: fc.nat({ max: 6 }),
    moment: fc.constantFrom<GateMoment>('unsent', 'committed'),
  }),
  { minLength: 1, maxLength: 3 },
);

describe('A random workflow', () => {
  const startApp = (traces: Traces): Promise<GatedApp> =>
    startGatedApp({
      url: database.url,
      providers: [RandomProgram, { provide: Traces, useValue: traces }],
      options: { parkAfterMs: 4 },
    });

  /** Runs the program in an application that dies at the gate, or has ended it before. */
  async function live(app: GatedApp, program: Program, gate: Gate): Promise<void> {
    const ended = app.workflows
      .start(RandomProgram, { workflowId: 'program' })
      .run(program, '')
      .then((handle) => handle.result())
      .catch(() => undefined);
    await Promise.race([gate.reached, ended]);
    const killed = app.kill();
    gate.open(); // nobody hears of it any more
    await killed;
  }

  it('ends as if its processes had not died at random statements, and repeats no checkpointed body', async () => {
    await fc.assert(
      fc.asyncProperty(
        programs,
        deaths,
        whileTimeLasts(async (program: Program, lives: Death[]) => {
          await clear();
          const traces = new TracesInMemory();
          const standings: Standing[] = [];
          for (const { statement, ...at } of lives) {
            const app = await startApp(traces);
            await live(app, program, app.gates.hold(statement, at.moment, at));
            standings.push({ counts: new Map(traces.counts), checkpoints: await checkpoints() });
          }

          const last = await startApp(traces);
          const handle = await last.workflows
            .start(RandomProgram, { workflowId: 'program' })
            .run(program, '');
          const result = await handle.result();
          await last.close();

          expect(result).toEqual(expectedResult(program));
          expectNoRepetition(standings, traces.counts);
          standings.forEach(expectDurableBeforeNext);
          await expectWorkflows(expectedWorkflows(program));
        }),
      ),
      { ...REPEATED, numRuns: 40 },
    );
  }, 240_000);

  it('ends as if its processes had not been killed with SIGKILL, and repeats no checkpointed body', async () => {
    const settings = { url: database.url, executorId: 'random', session: true };
    const batches = fc.array(programs, { minLength: 8, maxLength: 8 });
    const kills = fc.array(fc.integer({ min: 1, max: 15 }), { minLength: 2, maxLength: 2 });
    await fc.assert(
      fc.asyncProperty(
        batches,
        kills,
        whileTimeLasts(async (batch: Program[], lives: number[]) => {
          await clear();
          const standings: Standing[] = [];
          let child = await ChildApp.start(settings);
          await Promise.all(
            batch.map((program, index) =>
              child.startWorkflow('RandomProgram', `program-${index}`, program, ''),
            ),
          );
          for (const bodies of lives) {
            const before = (await ledger.entries()).length;
            const unfinished = async (): Promise<number> =>
              (await ledger.query(`SELECT FROM dbos.workflows WHERE completed_at IS NULL`)).length;
            await eventually(async () => {
              const enough = (await ledger.entries()).length >= before + bodies;
              expect(enough || (await unfinished()) === 0).toBe(true);
            });
            await child.kill();
            await eventually(async () => expect(await othersConnected()).toEqual([]));
            standings.push({ counts: await countsInLedger(), checkpoints: await checkpoints() });
            child = await ChildApp.start(settings);
          }

          for (const [index, program] of batch.entries()) {
            expect(await child.result(`program-${index}`)).toEqual(expectedResult(program));
          }
          await child.close();
          expectNoRepetition(standings, await countsInLedger());
          standings.forEach(expectDurableBeforeNext);
          await expectWorkflows(
            batch.reduce((sum, program) => sum + expectedWorkflows(program), 0),
          );
        }),
      ),
      { ...REPEATED, numRuns: 3 },
    );
  }, 240_000);
});

/** What a killed process had sent is over once its connections are gone. */
const othersConnected = (): Promise<unknown[]> =>
  ledger.query(
    `SELECT pid FROM pg_stat_activity
      WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
  );

async function countsInLedger(): Promise<Counts> {
  const counts: Counts = new Map();
  for (const { workflowId, step } of await ledger.entries()) {
    const key = `${workflowId} ${step}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}
