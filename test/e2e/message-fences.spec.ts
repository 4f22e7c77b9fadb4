// What a run does in the database itself is fenced: once it has lost its workflow, nothing of it is written.
import type { Owner } from '../../libs/dbos/src/core/owner.js';
import { VALUE, useMessageStage } from '../support/message-stage.js';

const TO = 'recipient';
const stage = useMessageStage();

async function sender(id = 'sender'): Promise<Owner> {
  const owner = await stage.owned(id);
  await stage.message(id);
  return owner;
}

beforeEach(() => stage.owned(TO));

/** What a run does in one commit with its checkpoint; each resolves to whether it was lost. */
const OPERATIONS: Record<string, (owner: Owner) => Promise<boolean>> = {
  'sends a message': async (owner) => {
    const step = { owner, stepId: '0', name: 'send', output: VALUE };
    const message = { workflowId: TO, topic: 't', message: VALUE };
    return (await stage.repository.messages.send(message, step)).result === 'lost';
  },
  'receives a message': async (owner) => {
    const receipt = { owner, stepId: '1', name: 'recv', topic: '', timeout: undefined };
    return (await stage.repository.messages.receive(receipt)).result === 'lost';
  },
  'records that no message came': async (owner) => {
    const receipt = { owner, stepId: '1', name: 'recv', topic: 'other', timeout: VALUE };
    return (await stage.repository.messages.receive(receipt)).result === 'lost';
  },
  'records until when it waits': async (owner) => {
    const deadline = { stepId: '0', name: 'flow.recv deadline', output: VALUE };
    const receipt = { owner, stepId: '1', name: 'recv', topic: 'other', timeout: undefined };
    return (await stage.repository.messages.receive({ ...receipt, deadline })).result === 'lost';
  },
  'gives out a token': async (owner) => {
    const digest = { id: 'id', proof: 'proof' };
    const step = { name: 'flow.createToken', output: VALUE };
    const token = { owner, stepId: '0', digest, expiresAt: undefined, step };
    return !(await stage.repository.tokens.create(token));
  },
  'appends to a stream': async (owner) => {
    const append = { owner, key: 'k', value: VALUE, stepId: '0', name: 'flow.writeStream' };
    return (await stage.repository.streams.append(append)) === 'not owned';
  },
};

async function written(): Promise<unknown> {
  const [counts] = await stage.rows(
    `SELECT (SELECT count(*) FROM dbos.steps)::int AS steps,
            (SELECT count(*) FROM dbos.messages WHERE topic = 't' OR consumed_by IS NOT NULL)::int AS messages,
            (SELECT count(*) FROM dbos.tokens)::int AS tokens,
            (SELECT count(*) FROM dbos.stream_entries)::int AS entries`,
  );
  return counts;
}

const NOTHING = { steps: 0, messages: 0, tokens: 0, entries: 0 };

describe.each(Object.entries(OPERATIONS))('A run that %s', (_what, operate) => {
  it('does so while it owns its workflow', async () => {
    expect(await operate(await sender())).toBe(false);
    expect(await written()).not.toEqual(NOTHING);
  });

  it.each([`status = 'CANCELLED'`, `executor_id = 'theirs'`, 'epoch = epoch + 1'])(
    'does nothing once %s',
    async (change) => {
      const owner = await sender();
      await stage.admin.query(`UPDATE dbos.workflows SET ${change} WHERE id = 'sender'`);
      expect(await operate(owner)).toBe(true);
      expect(await written()).toEqual(NOTHING);
    },
  );

  it('waits for a take-over that is under way, and then does nothing', async () => {
    const owner = await sender();
    await stage.admin.query('BEGIN');
    await stage.admin.query(`UPDATE dbos.workflows SET epoch = epoch + 1 WHERE id = 'sender'`);
    const lost = operate(owner);
    await stage.somebodyWaitsForALock();
    await stage.admin.query('COMMIT');
    expect(await lost).toBe(true);
    expect(await written()).toEqual(NOTHING);
  });

  it('does it once, although it is told twice', async () => {
    const owner = await sender();
    expect(await operate(owner)).toBe(false);
    const once = await written();
    expect(await operate(owner)).toBe(false);
    expect(await written()).toEqual(once);
  });
});

describe('Rows of several workflows are locked in the order of their ids', () => {
  const BATCHES: Record<string, (first: Owner, second: Owner) => Promise<unknown>> = {
    'when messages are sent': (first, second) =>
      Promise.all(
        [first, second].map(({ workflowId }) =>
          stage.repository.messages.send({ workflowId, topic: 't', message: VALUE }),
        ),
      ),
    'when messages are received': (first, second) =>
      Promise.all([first, second].map((owner) => OPERATIONS['receives a message']!(owner))),
    'when values are appended': (first, second) =>
      Promise.all([first, second].map((owner) => OPERATIONS['appends to a stream']!(owner))),
  };

  it.each(Object.entries(BATCHES))('%s', async (_when, batch) => {
    const [last, first] = [await sender('z'), await sender('a')];
    await stage.admin.query('BEGIN');
    await stage.admin.query(`SELECT FROM dbos.workflows WHERE id = 'a' FOR UPDATE`);
    const done = batch(last, first);
    await stage.somebodyWaitsForALock();
    const other = `SELECT FROM dbos.workflows WHERE id = 'z' FOR UPDATE NOWAIT`;
    expect(await stage.rows(other)).toHaveLength(1);
    await stage.admin.query('COMMIT');
    await done;
  });
});
