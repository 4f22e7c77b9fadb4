// The sample shop's orders, live: what is sent to a browser that follows one, and the page that shows it.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import request from 'supertest';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createGateway } from '../../sample-app/src/gateway/gateway-server.js';
import { Ledger } from '../../sample-app/src/gateway/ledger.js';
import type { Mishap } from '../../sample-app/src/gateway/mishaps.js';
import type { Progress } from '../../sample-app/src/progress/progress.service.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';

/** What goes wrong with the next charges, in order; after that nothing. */
const mishaps: Mishap[] = [];
let gateway: Server;
let database: TestDatabase;
let shop: INestApplication;
let url: string;

beforeAll(async () => {
  gateway = createGateway({ ledger: new Ledger(), mishap: () => mishaps.shift() ?? 'none' });
  await once(gateway.listen(0, '127.0.0.1'), 'listening');
  database = await createTestDatabase();
  process.env['DATABASE_URL'] = database.url;
  process.env['GATEWAY_URL'] = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`;
  const { AppModule } = await import('../../sample-app/src/app.module.js');
  const testing = await Test.createTestingModule({ imports: [AppModule] }).compile();
  shop = testing.createNestApplication({ logger: false });
  await shop.listen(0, '127.0.0.1');
  url = await shop.getUrl();
});

afterAll(async () => {
  await shop.close();
  await database.drop();
  gateway.close();
});

async function place(id: string, changes: object = {}): Promise<void> {
  const lines = [{ sku: 'teapot', quantity: 1 }];
  const order = { id, customer: 'Ada', card: 'tok_visa', lines, ...changes };
  await request(url).post('/orders').send(order).expect(202);
}

interface SentEvent {
  readonly type: string;
  readonly data: string;
}

/** The events of a connection, one after the other, until the server ends it or the reader leaves. */
async function* events(id: string): AsyncGenerator<SentEvent> {
  const response = await fetch(`${url}/orders/${id}/progress`);
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  let text = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const fields = new Map(
        block.split('\n').map((line) => line.split(/: (.*)/s, 2) as [string, string]),
      );
      const data = fields.get('data');
      if (data !== undefined) yield { type: fields.get('event') ?? 'message', data };
    }
  }
}

/** All that is told of an order, to the word that it has ended. */
async function followed(id: string): Promise<Progress[]> {
  const all = [];
  for await (const event of events(id)) all.push(event);
  expect(all.at(-1)?.type).toBe('end');
  return all.slice(0, -1).map(({ data }) => JSON.parse(data) as Progress);
}

function readers(): number {
  return shop.get(Engine).streams.watch.size;
}

describe('Whoever follows an order', () => {
  it('is told of each stage, and of the end', async () => {
    await place('followed');
    expect(await followed('followed')).toEqual([
      { stage: 'placed' },
      { stage: 'reserved' },
      { stage: 'charging', attempt: 1 },
      { stage: 'charged' },
      { stage: 'queued' },
      { stage: 'packing' },
      { stage: 'shipped', trackingCode: expect.stringMatching(/^TEA-/) },
    ]);
    await eventually(() => expect(readers()).toBe(0));
  });

  it('is told the same afterwards', async () => {
    await place('twice');
    expect(await followed('twice')).toEqual(await followed('twice'));
  });

  it('is told of every attempt to charge the card', async () => {
    mishaps.push('unavailable', 'lost answer');
    await place('unlucky');
    const attempts = (await followed('unlucky')).filter(({ stage }) => stage === 'charging');
    expect(attempts).toEqual([1, 2, 3].map((attempt) => ({ stage: 'charging', attempt })));
  });

  it('is told of a refusal', async () => {
    await place('declined', { card: 'tok_declined' });
    expect((await followed('declined')).at(-1)).toEqual({
      stage: 'refused',
      reason: 'The card was declined: insufficient funds.',
    });
  });

  it('is told that a large one waits for approval', async () => {
    await place('large', { lines: [{ sku: 'teapot', quantity: 21 }] });
    const stages: string[] = [];
    for await (const { data } of events('large')) {
      stages.push((JSON.parse(data) as Progress).stage);
      if (stages.includes('asking')) break;
    }
    expect(stages).toEqual(['placed', 'reserved', 'asking']);
  });

  it('is told while it happens, and holds nothing once it has left', async () => {
    await request(url).post('/fulfilment/pause').expect(200);
    await place('held');
    const following = events('held');
    let stage: string | undefined;
    while (stage !== 'queued') {
      const { value } = await following.next();
      ({ stage } = JSON.parse((value as SentEvent).data) as Progress);
    }
    await eventually(() => expect(readers()).toBe(2)); // of the checkout and of the fulfilment
    await following.return(undefined);
    await eventually(() => expect(readers()).toBe(0));
    await request(url).post('/fulfilment/resume').expect(200);
    expect((await followed('held')).at(-1)?.stage).toBe('shipped');
  });

  it('of one that nobody has placed is told so', async () => {
    const { body } = await request(url).get('/orders/nobody/progress').expect(404);
    expect(body.message).toBe('There is no order "nobody".');
    await request(url).get('/orders/nobody/page').expect(404);
  });
});

describe('The page of an order', () => {
  it('names the order, and runs nothing but its own script', async () => {
    await place('a.page');
    const { text, headers } = await request(url).get('/orders/a.page/page').expect(200);

    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect(text).toContain('<title>Order a.page</title>');
    const [, script = ''] = /<script>(.*)<\/script>/s.exec(text) ?? [];
    const digest = createHash('sha256').update(script).digest('base64');
    expect(headers['content-security-policy']).toContain(`script-src 'sha256-${digest}'`);
    expect(headers['content-security-policy']).toContain(`default-src 'none'`);
  });

  it('is not given for an id that could be markup', async () => {
    const { status } = await request(url).get(`/orders/${encodeURIComponent('<img src=x>')}/page`);
    expect(status).toBe(400);
  });
});

describe('A shop that closes', () => {
  it('hangs up on who follows an order, without a word of an end', async () => {
    await request(url).post('/fulfilment/pause').expect(200);
    await place('open');
    const types: string[] = [];
    for await (const { type, data } of events('open')) {
      types.push(type);
      if (data.includes('queued')) void shop.close();
    }
    expect(types).toEqual(
      ['placed', 'reserved', 'charging', 'charged', 'queued'].map(() => 'message'),
    );
  });
});
