// A cancellation or deletion of a whole family, and starts of children at the same moment: either sees the other.
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { NAME, QueueSession } from '../support/queue-session.js';

const FAMILY = { children: true, by: null };
const INPUT = { text: '[]', format: 'json' };

let database: TestDatabase;
let observer: QueueSession;
let first: QueueSession;
let second: QueueSession;

beforeAll(async () => {
  database = await createTestDatabase();
});

beforeEach(async () => {
  observer = await QueueSession.open(database.url);
  first = await QueueSession.open(database.url);
  second = await QueueSession.open(database.url);
  await observer.workflows.start({ id: 'parent', name: NAME, input: INPUT, executorId: 'one' });
});

afterEach(async () => {
  await observer.query('TRUNCATE dbos.workflows');
  await Promise.all([observer, first, second].map((session) => session.close()));
});

afterAll(() => database.drop());

const child = { id: 'child', name: NAME, input: INPUT, parentId: 'parent', executorId: 'one' };

describe.each([
  ['cancellation', (session: QueueSession) => session.control.cancel(['parent'], FAMILY)],
  ['deletion', (session: QueueSession) => session.control.delete(['parent'], FAMILY)],
])('A %s of a family', (_name, end) => {
  it('waits for the start of a child that is under way, and takes the child along', async () => {
    await first.begin();
    await first.workflows.start(child);
    const ending = end(second);
    await first.holdsUp(second, observer);

    await first.commit();

    expect((await ending).map(({ id }) => id).toSorted()).toEqual(['child', 'parent']);
  });

  it('is waited for by the start of a child, which then comes too late', async () => {
    await first.begin();
    await end(first);
    const starting = second.workflows.start(child);
    await first.holdsUp(second, observer);

    await first.commit();

    expect(await starting).toMatchObject({ created: false, status: 'CANCELLED', executorId: null });
    expect(await observer.workflows.find('child')).toMatchObject({
      status: 'CANCELLED',
      cancelReason: 'requested',
      epoch: 0,
    });
  });
});

describe('The start of a child', () => {
  it('does not wait for what its parent records', async () => {
    await first.begin();
    const owner = { workflowId: 'parent', executorId: 'one', epoch: 1 };
    await first.workflows.settle(owner, { status: 'SUCCESS', output: INPUT });

    expect(await second.workflows.start(child)).toMatchObject({ created: true });

    await first.commit();
  });
});
