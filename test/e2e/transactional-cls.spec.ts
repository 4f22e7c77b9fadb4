// Beside nestjs-cls: transaction steps and methods marked `@Transactional()` are parts of one transaction, where they should.
import { randomUUID } from 'node:crypto';
import { ClsProcess, type ClsAct, type ClsAnswer } from '../support/cls-process.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
let shop: ClsProcess;

beforeAll(async () => {
  database = await createTestDatabase();
  shop = await ClsProcess.start(database.url);
});
afterAll(async () => {
  await shop.end();
  await database.drop();
});

const ask = (act: ClsAct, id: string = randomUUID()): Promise<ClsAnswer> => shop.ask(act, id);

describe('A @Transaction() step that calls a @Transactional() method', () => {
  it('is one transaction with it, and each sees what the other wrote', async () => {
    expect(await ask('run a step')).toMatchObject({
      seen: { failure: 'none', outputs: [2] },
      rows: 1,
    });
  });

  it('rolls back what that wrote when it fails', async () => {
    expect(await ask('run a step that fails')).toMatchObject({
      seen: { failure: 'after all not' },
      rows: 0,
    });
  });

  it('starts a child with the client of the host', async () => {
    const id = randomUUID();
    expect(await ask('start a child in a step', id)).toMatchObject({
      seen: { failure: 'none', parentId: `parent ${id}` },
      rows: 1,
    });
  });
});

describe('A @Transactional() method that calls a @Transaction() method', () => {
  it('outside of workflows is one transaction with it', async () => {
    expect(await ask('call a step in a transaction')).toEqual({ seen: 2, rows: 1 });
  });

  it('outside of workflows rolls back what that wrote', async () => {
    expect(await ask('call a step in one that is rolled back')).toEqual({
      seen: 'after all not',
      rows: 0,
    });
  });

  it('in a workflow leaves the step a transaction of its own, as its checkpoint counts', async () => {
    expect(await ask('wrap a step in a workflow')).toMatchObject({
      seen: { failure: 'none', outputs: [2] },
      rows: 1,
    });
  });
});

describe('A workflow that is started in a @Transactional() method', () => {
  it('with the client of the host is committed with it', async () => {
    const answer = await ask('start in a transaction');
    expect(answer).toMatchObject({ seen: { failure: 'none', outputs: [2] }, rows: 1 });
    expect(answer.seen).not.toHaveProperty('seenBefore');
  });

  it('with the client of the host is rolled back with it', async () => {
    expect(await ask('start in one that is rolled back')).toEqual({
      seen: { failure: 'after all not' },
      rows: 0,
    });
  });

  it('without it is no part of its transaction, and neither are its steps', async () => {
    expect(await ask('execute beside one that is rolled back')).toEqual({
      seen: 'after all not',
      rows: 1,
    });
  });

  it('is refused where no transaction is open, and the host has but the client itself', async () => {
    expect(await ask('start without a transaction')).toEqual({
      seen: 'DBOS_INVALID_TRANSACTION_CLIENT',
      rows: 0,
    });
  });
});
