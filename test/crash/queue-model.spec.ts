// Whatever is done with queues at random, by several processes that are killed and stopped meanwhile: no limit is
// exceeded at any instant, nothing is lost, nothing runs twice without a death, the order holds. A run prints its seed;
// TEST_SEED repeats its choices, TEST_OPERATIONS makes it as long as you like.
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { Ledger } from '../support/ledger.js';
import { startDelays, violationsOf } from '../support/queue-checker.js';
import { installQueueLog } from '../support/queue-log.js';
import { QueueModel } from '../support/queue-model.js';

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000_000);
const OPERATIONS = Number(process.env['TEST_OPERATIONS'] ?? 600);
/** A busy machine does fewer operations rather than take longer; one that is told how many does them all. */
const BUDGET_MS = process.env['TEST_OPERATIONS'] ? 24 * 3_600_000 : 30_000;

let database: TestDatabase;
let ledger: Ledger;

beforeEach(async () => {
  database = await createTestDatabase();
  ledger = await Ledger.open(database.url);
  await ledger.create();
  await installQueueLog(ledger);
});

afterEach(async () => {
  await ledger.close();
  await database.drop();
});

describe('Queues under random use by three processes', () => {
  it('keep every promise', async () => {
    const model = new QueueModel({ url: database.url, ledger, seed: SEED, processes: 3 });
    try {
      await model.start();
      await model.run({ operations: OPERATIONS, budgetMs: BUDGET_MS });
      await model.finish();
    } finally {
      await model.killAll();
    }

    const evidence = await model.evidence();
    const violations = violationsOf(evidence);
    const figures = {
      TEST_SEED: SEED,
      ...model.counts,
      workflows: evidence.workflows.length,
      bodies: evidence.bodies.length,
      ends: evidence.ends.length,
      startDelayMs: startDelays(evidence),
      violations: violations.length,
    };
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    expect(violations).toEqual([]);
    expect(model.surprises).toEqual([]);
  }, 2_147_483_647);
});
