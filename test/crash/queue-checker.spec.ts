// The checker of the queue model notices what it is there for: each way of claiming wrongly is tried on it.
import { BROKEN_CLAIMS, breakClaims } from '../support/broken-claims.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { Ledger } from '../support/ledger.js';
import { violationsOf, type Promised, type Violation } from '../support/queue-checker.js';
import { installQueueLog } from '../support/queue-log.js';
import { QueueModel } from '../support/queue-model.js';

const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000_000);
/** Each is caught in the first rounds; chance may need a few more. */
const MAX_ROUNDS = 12;
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

/** Lets the processes work until this promise is broken; a claim may break others before it. */
async function violationsUntil(promise: Promised): Promise<Violation[]> {
  let violations: Violation[] = [];
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    await model.run({ operations: OPERATIONS_OF_ROUND, budgetMs: 10_000 });
    await model.drain();
    violations = violationsOf(await model.evidence());
    if (violations.some((violation) => violation.promise === promise)) break;
  }
  return violations;
}

describe('A claim', () => {
  it.each(BROKEN_CLAIMS)(
    'that $name breaks the promise of $promise, and is noticed',
    async (broken) => {
      const makeWhole = await breakClaims(ledger, broken);
      const violations = await violationsUntil(broken.promise);
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
