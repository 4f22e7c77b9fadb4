// New workflows are written by one of three statements, for one, for many that are alike, and for any. Which of them it is
// may not show in what stands.
import type { NewWorkflow } from '../../libs/dbos/src/repository/workflow-repository.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { QueueSession } from '../support/queue-session.js';

let database: TestDatabase;
let first: QueueSession;
let second: QueueSession;

beforeAll(async () => {
  database = await createTestDatabase();
  first = await QueueSession.open(database.url);
  second = await QueueSession.open(database.url);
});

afterEach(() => first.query('TRUNCATE dbos.workflows'));

afterAll(async () => {
  await Promise.all([first.close(), second.close()]);
  await database.drop();
});

const bare = (id: string, rest: Partial<NewWorkflow> = {}): NewWorkflow => ({
  id,
  name: 'Packing',
  input: { text: `["${id}"]`, format: 'json' },
  ...rest,
});

/** Something in which it is unlike others, so that they are written as any are. */
const unlike = bare('unlike', { attributes: { unlike: true } });

/** What stands of a workflow, but for its id and the moment. */
async function standing(id: string): Promise<Record<string, unknown>> {
  const [row] = await first.query<{ standing: Record<string, unknown> }>(
    `SELECT to_jsonb(w) - '{id,seq,input,created_at,updated_at,started_at}'::text[]
              || jsonb_build_object('has_started', w.started_at IS NOT NULL) AS standing
       FROM dbos.workflows w WHERE id = $1`,
    [id],
  );
  return row!.standing;
}

const inputs = async (): Promise<Record<string, string>> =>
  Object.fromEntries(
    (await first.query<{ id: string; input: string }>('SELECT id, input FROM dbos.workflows')).map(
      ({ id, input }) => [id, input],
    ),
  );

const answers = (started: ReadonlyArray<{ id: string; created: boolean; name: string }>) =>
  started.map(({ id, created, name }) => `${id}: ${created ? 'created' : 'stands'} as ${name}`);

describe('A workflow', () => {
  it.each<[string, Partial<NewWorkflow>]>([
    ['that is started', { executorId: 'one' }],
    ['that waits on no queue', {}],
    ['on a queue', { queue: 'parcels' }],
    ['with a priority', { queue: 'parcels', priority: -3 }],
    ['of a version', { executorId: 'one', applicationVersion: 'v1' }],
    ['of another format', { input: { text: '{}', format: 'superjson' } }],
  ])('%s is the same, written alone, among its like or among others', async (_, rest) => {
    await first.workflows.startMany([bare('alone', rest)]);
    await first.workflows.startMany([bare('like', rest), bare('other', rest)]);
    await first.workflows.startMany([bare('among', rest), unlike]);

    const alone = await standing('alone');
    expect(alone).toMatchObject({ name: 'Packing', serialization: rest.input?.format ?? 'json' });
    expect(await standing('like')).toEqual(alone);
    expect(await standing('among')).toEqual(alone);
  });

  it.each<[string, Partial<NewWorkflow>]>([
    ['name', { name: 'Sealing' }],
    ['executor_id', { executorId: 'one' }],
    ['parent_id', { parentId: 'parent' }],
    ['application_version', { applicationVersion: 'v2' }],
    ['attributes', { attributes: { a: 1 } }],
    ['context', { context: { a: 'b' } }],
    ['serialization', { input: { text: '{}', format: 'superjson' } }],
    ['queue', { queue: 'parcels' }],
    ['priority', { priority: 7 }],
    ['partition_key', { queue: 'parcels', partitionKey: 'west' }],
    ['deduplication_id', { queue: 'parcels', deduplicationId: 'once' }],
    ['wake_at', { delayMs: 3_600_000 }],
    ['wake_at', { runAt: new Date(Date.now() + 3_600_000) }],
    ['timeout_ms', { timeoutMs: 5_000 }],
    ['deadline', { deadline: new Date(Date.now() + 3_600_000) }],
  ])('keeps a %s that its neighbour does not have', async (column, rest) => {
    await first.workflows.start(bare('parent'));
    const queue = column === 'queue' ? undefined : rest.queue;
    await first.workflows.startMany([bare('neighbour', { queue }), bare('it', rest)]);

    const [it, neighbour] = [await standing('it'), await standing('neighbour')];
    expect(it[column]).not.toBeNull();
    expect(it[column]).not.toEqual(neighbour[column]);
  });
});

describe('Many that are alike', () => {
  it('are numbered in the order in which they came', async () => {
    const ids = ['c', 'a', 'd', 'b'];
    await first.workflows.startMany(ids.map((id) => bare(id)));
    const rows = await first.query<{ id: string }>('SELECT id FROM dbos.workflows ORDER BY seq');
    expect(rows.map(({ id }) => id)).toEqual(ids);
  });

  it('are written in the order of their ids, so that two batches cannot wait for each other', async () => {
    await first.workflows.startMany(['c', 'a', 'd', 'b'].map((id) => bare(id)));
    const rows = await first.query<{ id: string }>('SELECT id FROM dbos.workflows ORDER BY ctid');
    expect(rows.map(({ id }) => id)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('leave what stands under their ids as it is, and tell of it', async () => {
    await first.workflows.start(bare('b', { name: 'Sealing' }));
    const started = await first.workflows.startMany(['a', 'b', 'c'].map((id) => bare(id)));

    expect(answers(started)).toEqual([
      'a: created as Packing',
      'b: stands as Sealing',
      'c: created as Packing',
    ]);
    expect(await inputs()).toEqual({ a: '["a"]', b: '["b"]', c: '["c"]' });
  });

  it('are all there already when they are sent a second time', async () => {
    const many = ['a', 'b'].map((id) => bare(id));
    await first.workflows.startMany(many);
    expect(answers(await first.workflows.startMany(many))).toEqual([
      'a: stands as Packing',
      'b: stands as Packing',
    ]);
  });

  it.each([
    ['COMMIT', 'b: stands as Packing'],
    ['ROLLBACK', 'b: created as Packing'],
  ])('wait for one who writes the same id, and see its %s', async (end, ofB) => {
    await first.begin();
    await first.workflows.startMany([bare('a'), bare('b')]);
    const started = second.workflows.startMany([bare('b'), bare('c')]);
    await first.holdsUp(second, first);
    await first.query(end);

    expect(answers(await started)).toEqual([ofB, 'c: created as Packing']);
  });
});
