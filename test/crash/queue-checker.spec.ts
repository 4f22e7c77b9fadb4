// The checker of the queue model notices what it is there for: each way of claiming wrongly is tried on it.
import { BROKEN_CLAIMS, breakClaims } from '../support/broken-claims.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { Ledger } from '../support/ledger.js';
import { violationsOf, type Violation } from '../support/queue-checker.js';
import { installQueueLog } from '../support/queue-log.js';
import { QueueModel } from '../support/queue-model.js';

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000_000);
/** Each is caught in the first rounds; chance may need a few more. */
const MAX_ROUNDS = 10;
const OPERATIONS_OF_ROUND = 60;

let database: TestDatabase;
let ledger: Ledger;
let model: QueueModel;

beforeAll(async () => {
  process.stdout.write(`TEST_SEED=${SEED}\n`);
  database = await createTestDatabase();
  ledger = await Ledger.open(database.url);
  await ledger.create();
  await installQueueLog(ledger);
  model = new QueueModel({ url: database.url, ledger, seed: SEED, processes: 3, kills: false });
  await model.start();
});

afterAll(async () => {
  await model.killAll();
  await ledger.close();
  await database.drop();
});

/** Lets the processes work until something is wrong. */
async function firstViolations(): Promise<Violation[]> {
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    await model.run({ operations: OPERATIONS_OF_ROUND, budgetMs: 10_000 });
    await model.drain();
    const violations = violationsOf(await model.evidence());
    if (violations.length > 0) return violations;
  }
  return [];
}

describe('A claim', () => {
  it.each(BROKEN_CLAIMS)(
    'that $name breaks the promise of $promise, and is noticed',
    async (broken) => {
      const makeWhole = await breakClaims(ledger, broken);
      const violations = await firstViolations();
      await makeWhole();
      await model.forget();
      expect(violations.map(({ promise }) => promise)).toContain(broken.promise);
    },
    180_000,
  );

  it('that is whole breaks none', async () => {
    await model.run({ operations: OPERATIONS_OF_ROUND, budgetMs: 10_000 });
    await model.drain();
    expect(violationsOf(await model.evidence())).toEqual([]);
  }, 180_000);
});
