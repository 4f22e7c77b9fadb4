// What the single statements of messages, events and tokens promise, seen in their rows.
import type { Owner } from '../../libs/dbos/src/core/owner.js';
import { VALUE, useMessageStage } from '../support/message-stage.js';

const ID = 'workflow';
const stage = useMessageStage();
let owner: Owner;

beforeEach(async () => {
  owner = await stage.owned(ID);
});

const receipt = (stepId: string, topic = '') => ({
  owner,
  stepId,
  name: 'recv',
  topic,
  timeout: undefined,
});

const received = (text: string) => ({ result: 'received', output: { text, format: 'json' } });

async function asItStands(): Promise<unknown> {
  const [row] = await stage.rows('SELECT status, wake_at, awaited_topics FROM dbos.workflows');
  return row;
}

const park = (topics: readonly string[]): Promise<boolean> =>
  stage.repository.workflows.settle(owner, { status: 'DELAYED', wakeAt: new Date(1e13), topics });

async function consumed(): Promise<unknown[]> {
  const rows = await stage.rows('SELECT consumed_by FROM dbos.messages ORDER BY seq');
  return rows.map((row) => (row as { consumed_by: unknown }).consumed_by);
}

async function tokenOf(stepId: string, expiresAt?: Date): Promise<string> {
  const id = `token of ${stepId}`;
  const digest = { id, proof: 'proof' };
  await stage.repository.tokens.create({ owner, stepId, digest, expiresAt, step: undefined });
  return id;
}

const decide = (tokenId: string) =>
  stage.repository.messages.send({ workflowId: ID, topic: tokenId, message: VALUE, tokenId });

describe('Receiving', () => {
  it('gives side by side the messages in the order of the calls', async () => {
    await stage.message(ID, { text: '1' });
    await stage.message(ID, { text: '2' });
    const { messages } = stage.repository;
    const both = await Promise.all([
      messages.receive(receipt('1.1.0')),
      messages.receive(receipt('1.0.0')),
    ]);
    expect(both).toEqual([received('1'), received('2')]);
  });

  it('gives what its step received before, though nothing more waits', async () => {
    await stage.message(ID, { text: '1' });
    await stage.repository.messages.receive(receipt('1'));
    expect(await stage.repository.messages.receive(receipt('1'))).toEqual(received('1'));
  });

  it('locks nothing where there is nothing', async () => {
    await stage.admin.query('BEGIN');
    await stage.admin.query('SELECT FROM dbos.workflows FOR UPDATE');
    expect(await stage.repository.messages.receive(receipt('1'))).toEqual({ result: 'none' });
    await stage.admin.query('COMMIT');
  });

  it('that times out lets the tokens of its step expire, and no others', async () => {
    const [mine, other] = [await tokenOf('0'), await tokenOf('5')];
    const timedOut = { ...receipt('2', mine), timeout: VALUE, tokenStepId: '0' };
    await stage.repository.messages.receive(timedOut);
    expect(await decide(mine)).toEqual({ result: 'expired' });
    expect(await decide(other)).toMatchObject({ result: 'sent' });
  });
});

describe('Sending', () => {
  it('to a parked workflow leaves nothing of its parking behind', async () => {
    await park(['t']);
    await stage.repository.messages.send({ workflowId: ID, topic: 't', message: VALUE });
    expect(await asItStands()).toEqual({
      status: 'ENQUEUED',
      wake_at: null,
      awaited_topics: null,
    });
  });

  it('sends nothing with a token that has expired', async () => {
    const token = await tokenOf('0', new Date(0));
    expect(await decide(token)).toEqual({ result: 'expired' });
    expect(await consumed()).toEqual([]);
  });

  it('sends nothing with a token that expires while it waits for the row', async () => {
    const token = await tokenOf('0', new Date(Date.now() + 60_000));
    await stage.admin.query('BEGIN');
    await stage.admin.query('SELECT FROM dbos.workflows FOR UPDATE');
    const decision = decide(token);
    await stage.somebodyWaitsForALock();
    await stage.admin.query('UPDATE dbos.tokens SET expires_at = clock_timestamp()');
    await stage.admin.query('COMMIT');
    expect(await decision).toEqual({ result: 'expired' });
    expect(await consumed()).toEqual([]);
  });

  it('tells of messages with one key, sent at once, which of them was the first', async () => {
    const message = { workflowId: ID, topic: 't', idempotencyKey: 'k', message: VALUE };
    const { messages } = stage.repository;
    expect(await Promise.all([messages.send(message), messages.send(message)])).toMatchObject([
      { isNew: true },
      { isNew: false },
    ]);
  });

  it('to one workflow waits for the answer to what was sent to it before', async () => {
    const gate = stage.gates.hold('dbos.send_messages', 'unsent');
    const send = (text: string) =>
      stage.repository.messages.send({
        workflowId: ID,
        topic: 't',
        message: { text, format: 'json' },
      });
    const first = send('1');
    await gate.reached;
    const second = send('2');
    await stage.rows('SELECT pg_sleep(0)');
    gate.open();
    await Promise.all([first, second]);
    expect(await stage.rows('SELECT message FROM dbos.messages ORDER BY seq')).toEqual([
      { message: '1' },
      { message: '2' },
    ]);
  });
});

describe('Parking', () => {
  it('sends a run on at once for which a message has come, and leaves nothing of it behind', async () => {
    await stage.message(ID, { topic: 't' });
    await park(['s', 't']);
    expect(await asItStands()).toEqual({
      status: 'ENQUEUED',
      wake_at: null,
      awaited_topics: null,
    });
  });

  it('does not take a message for news that was received before', async () => {
    await stage.message(ID, { topic: 't', consumedBy: '0' });
    await park(['t']);
    expect(await asItStands()).toMatchObject({ status: 'DELAYED', awaited_topics: ['t'] });
  });

  it.each([
    [`status = 'CANCELLED'`, { status: 'CANCELLED', awaited_topics: null }],
    [
      `status = 'DELAYED', epoch = epoch + 1, awaited_topics = '{theirs}'`,
      { status: 'DELAYED', awaited_topics: ['theirs'] },
    ],
  ])('changes nothing once %s', async (change, standing) => {
    await stage.admin.query(`UPDATE dbos.workflows SET ${change}`);
    expect(await park(['t'])).toBe(false);
    expect(await asItStands()).toMatchObject(standing);
  });
});

describe('A run that is tried again from a step', () => {
  const tryAgain = (): Promise<boolean> =>
    stage.repository.workflows.settle(owner, {
      status: 'DELAYED',
      wakeAt: new Date(),
      error: VALUE,
      retryFrom: 2,
    });

  beforeEach(async () => {
    for (const consumedBy of ['1', '2', '2.0.1', '10']) await stage.message(ID, { consumedBy });
  });

  it('receives anew what came from that step on', async () => {
    expect(await tryAgain()).toBe(true);
    expect(await consumed()).toEqual(['1', null, null, null]);
  });

  it.each([`status = 'CANCELLED'`, `status = 'DELAYED', epoch = epoch + 1`])(
    'receives nothing anew once %s',
    async (change) => {
      await stage.admin.query(`UPDATE dbos.workflows SET ${change}`);
      expect(await tryAgain()).toBe(false);
      expect(await consumed()).toEqual(['1', '2', '2.0.1', '10']);
    },
  );
});

describe('An event', () => {
  it('is not set by a step that another run has recorded', async () => {
    await stage.admin.query(
      `INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, started_at)
       VALUES ($1, '0', 'theirs', 2, 'json', '1', now())`,
      [ID],
    );
    const event = { key: 'k', value: VALUE };
    const step = { stepId: '0', name: 'ours', output: VALUE, event, attempts: 1, durationMs: 0 };
    expect(await stage.repository.steps.record(owner, step)).toBe(false);
    expect(await stage.rows('SELECT FROM dbos.events')).toEqual([]);
  });
});
