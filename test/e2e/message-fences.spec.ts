// What a run does in the database itself is fenced: once it has lost its workflow, nothing of it is written.
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import type { Owner } from '../../libs/dbos/src/core/owner.js';
import { PrismaCheckpointRepository } from '../../libs/dbos/src/prisma/prisma-checkpoint-repository.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';

const OURS = { executorId: 'ours', epoch: 3 };
const VALUE = { text: '1', format: 'json' };
const TO = 'recipient';

let database: TestDatabase;
let prisma: PrismaClient;
let repository: PrismaCheckpointRepository;
let admin: pg.Client;

beforeAll(async () => {
  database = await createTestDatabase();
  prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: database.url, max: 4 }) });
  repository = new PrismaCheckpointRepository(() => prisma, { migrate: false, session: false });
  admin = new pg.Client({ connectionString: database.url });
  await admin.connect();
});

beforeEach(async () => {
  await admin.query(
    'TRUNCATE dbos.workflows, dbos.steps, dbos.messages, dbos.tokens, dbos.stream_entries CASCADE',
  );
  await owned(TO);
});

afterAll(async () => {
  await repository.close();
  await prisma.$disconnect();
  await admin.end();
  await database.drop();
});

/** A workflow that our run owns, with a message in it. */
async function owned(id: string): Promise<Owner> {
  await admin.query(
    `INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, serialization, input)
     VALUES ($1, 'Any', 'PENDING', $2, $3, 'json', '[]')`,
    [id, OURS.executorId, OURS.epoch],
  );
  await admin.query(
    `INSERT INTO dbos.messages (workflow_id, topic, serialization, message) VALUES ($1, '', 'json', '0')`,
    [id],
  );
  return { workflowId: id, ...OURS };
}

/** What a run does in one commit with its checkpoint; each resolves to whether it was lost. */
const OPERATIONS: Record<string, (owner: Owner) => Promise<boolean>> = {
  'sends a message': async (owner) => {
    const step = { owner, stepId: '0', name: 'send', output: VALUE };
    const message = { workflowId: TO, topic: 't', message: VALUE };
    return (await repository.messages.send(message, step)).result === 'lost';
  },
  'receives a message': async (owner) => {
    const receipt = { owner, stepId: '1', name: 'recv', topic: '', timeout: undefined };
    return (await repository.messages.receive(receipt)).result === 'lost';
  },
  'records that no message came': async (owner) => {
    const receipt = { owner, stepId: '1', name: 'recv', topic: 'other', timeout: VALUE };
    return (await repository.messages.receive(receipt)).result === 'lost';
  },
  'gives out a token': async (owner) => {
    const digest = { id: 'id', proof: 'proof' };
    const step = { name: 'flow.createToken', output: VALUE };
    const token = { owner, stepId: '0', digest, expiresAt: undefined, step };
    return !(await repository.tokens.create(token));
  },
  'appends to a stream': async (owner) => {
    const append = { owner, key: 'k', value: VALUE, stepId: '0', name: 'flow.writeStream' };
    return (await repository.streams.append(append)) === 'not owned';
  },
};

async function written(): Promise<unknown> {
  const { rows } = await admin.query(
    `SELECT (SELECT count(*) FROM dbos.steps)::int AS steps,
            (SELECT count(*) FROM dbos.messages WHERE topic = 't' OR consumed_by IS NOT NULL)::int AS messages,
            (SELECT count(*) FROM dbos.tokens)::int AS tokens,
            (SELECT count(*) FROM dbos.stream_entries)::int AS entries`,
  );
  return rows[0];
}

const NOTHING = { steps: 0, messages: 0, tokens: 0, entries: 0 };

async function somebodyWaitsForALock(): Promise<void> {
  await eventually(async () => {
    const { rows } = await admin.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    expect(rows).not.toEqual([]);
  });
}

describe.each(Object.entries(OPERATIONS))('A run that %s', (_what, operate) => {
  it('does so while it owns its workflow', async () => {
    expect(await operate(await owned('sender'))).toBe(false);
    expect(await written()).not.toEqual(NOTHING);
  });

  it.each([`status = 'CANCELLED'`, `executor_id = 'theirs'`, 'epoch = epoch + 1'])(
    'does nothing once %s',
    async (change) => {
      const owner = await owned('sender');
      await admin.query(`UPDATE dbos.workflows SET ${change} WHERE id = 'sender'`);
      expect(await operate(owner)).toBe(true);
      expect(await written()).toEqual(NOTHING);
    },
  );

  it('waits for a take-over that is under way, and then does nothing', async () => {
    const owner = await owned('sender');
    await admin.query('BEGIN');
    await admin.query(`UPDATE dbos.workflows SET epoch = epoch + 1 WHERE id = 'sender'`);
    const lost = operate(owner);
    await somebodyWaitsForALock();
    await admin.query('COMMIT');
    expect(await lost).toBe(true);
    expect(await written()).toEqual(NOTHING);
  });
});

describe('Rows of several workflows are locked in the order of their ids', () => {
  const BATCHES: Record<string, (first: Owner, second: Owner) => Promise<unknown>> = {
    'when messages are sent': (first, second) =>
      Promise.all(
        [first, second].map(({ workflowId }) =>
          repository.messages.send({ workflowId, topic: 't', message: VALUE }),
        ),
      ),
    'when messages are received': (first, second) =>
      Promise.all([first, second].map((owner) => OPERATIONS['receives a message']!(owner))),
    'when values are appended': (first, second) =>
      Promise.all([first, second].map((owner) => OPERATIONS['appends to a stream']!(owner))),
  };

  it.each(Object.entries(BATCHES))('%s', async (_when, batch) => {
    const [last, first] = [await owned('z'), await owned('a')];
    await admin.query('BEGIN');
    await admin.query(`SELECT FROM dbos.workflows WHERE id = 'a' FOR UPDATE`);
    const done = batch(last, first);
    await somebodyWaitsForALock();
    await admin.query(`SELECT FROM dbos.workflows WHERE id = 'z' FOR UPDATE NOWAIT`);
    await admin.query('COMMIT');
    await done;
  });
});
