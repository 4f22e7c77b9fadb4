// The sample shop as its customers meet it, with a payment gateway that fails when the test says so.
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { jest } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { ScheduleService, WorkflowService, type QueueReport } from 'nestjs-dbos';
import pg from 'pg';
import request from 'supertest';
import { ApprovalMail } from '../../sample-app/src/approvals/approval-mail.service.js';
import { createGateway } from '../../sample-app/src/gateway/gateway-server.js';
import { Ledger } from '../../sample-app/src/gateway/ledger.js';
import type { Mishap } from '../../sample-app/src/gateway/mishaps.js';
import type { OrderReport } from '../../sample-app/src/orders/order-reports.service.js';
import { PrismaService } from '../../sample-app/src/prisma/prisma.service.js';
import type { DayReport } from '../../sample-app/src/reports/daily-reports.service.js';
import { NightlyReportWorkflow } from '../../sample-app/src/reports/nightly-report.workflow.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { parsePrometheus } from '../support/prometheus-text.js';
import { ShopProcess } from '../support/shop-process.js';

const ledger = new Ledger();
/** What goes wrong with the next calls, in order; after that nothing. */
const mishaps: Mishap[] = [];
let gateway: Server;
let database: TestDatabase;
let shop: INestApplication;

/** For what takes several steps, on a busy machine. */
const PATIENCE_MS = 60_000;

beforeAll(async () => {
  gateway = createGateway({ ledger, mishap: () => mishaps.shift() ?? 'none' });
  await once(gateway.listen(0, '127.0.0.1'), 'listening');
  database = await createTestDatabase();
  process.env['DATABASE_URL'] = database.url;
  process.env['GATEWAY_URL'] = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`;
  shop = await openShop();
});

beforeEach(() => {
  packFor(500);
});

afterEach(() => {
  jest.restoreAllMocks();
});

afterAll(async () => {
  await shop.close();
  await database.drop();
  gateway.close();
});

/** The module reads the environment when it is loaded, so it is loaded after that is set. */
async function openShop(): Promise<INestApplication> {
  const { AppModule } = await import('../../sample-app/src/app.module.js');
  const testing = await Test.createTestingModule({ imports: [AppModule] }).compile();
  return testing.createNestApplication({ logger: false }).init();
}

/** The workflow draws from 500 to 1,500 ms. */
function packFor(ms: number): void {
  jest.spyOn(Math, 'random').mockReturnValue((ms - 500) / 1_000);
}

function anOrder(id: string, changes: object = {}): object {
  return {
    id,
    customer: 'Ada',
    card: 'tok_visa',
    lines: [{ sku: 'teapot', quantity: 2 }],
    ...changes,
  };
}

/** A shop in this process, or the address of another. */
type ShopServer = Parameters<typeof request>[0];

function place(order: object, server: ShopServer = shop.getHttpServer()): request.Test {
  return request(server).post('/orders').send(order);
}

async function report(id: string, server: ShopServer = shop.getHttpServer()): Promise<OrderReport> {
  const { body } = await request(server).get(`/orders/${id}`).expect(200);
  return body;
}

function ended(id: string, server?: ShopServer): Promise<OrderReport> {
  return eventually(async () => {
    const order = await report(id, server);
    expect(order.workflow.completedAt).not.toBeNull();
    return order;
  }, PATIENCE_MS);
}

/** The report of the queue, after it has been paused or resumed if so asked. */
async function fulfilment(
  change?: 'pause' | 'resume',
  server: ShopServer = shop.getHttpServer(),
): Promise<QueueReport> {
  const asking = request(server);
  const asked = change ? asking.post(`/fulfilment/${change}`) : asking.get('/fulfilment');
  return (await asked.expect(200)).body;
}

/** An order that is paid and waits on the paused queue. */
function waiting(id: string, server?: ShopServer): Promise<OrderReport> {
  return eventually(async () => {
    const order = await report(id, server);
    expect(order.fulfilment?.workflow.status).toBe('ENQUEUED');
    return order;
  }, PATIENCE_MS);
}

async function stockOf(wanted: string): Promise<number> {
  const { body } = await request(shop.getHttpServer()).get('/products').expect(200);
  return body.find(({ sku }: { sku: string }) => sku === wanted).stock;
}

function namesOf(progress: Pick<OrderReport, 'steps'> | undefined): string[] | undefined {
  return progress?.steps.map(({ name }) => name);
}

function chargesOf(id: string): Ledger['charges'] {
  return ledger.charges.filter(({ orderId }) => orderId === id);
}

/** The links in the mails that the manager gets. */
function watchMails(): string[] {
  const links: string[] = [];
  const { logger }: { logger: { log(text: string): void } } = shop.get(ApprovalMail);
  jest.spyOn(logger, 'log').mockImplementation((text) => {
    links.push(new URL(text.slice(text.indexOf('http'))).pathname);
  });
  return links;
}

describe('A large order', () => {
  const LARGE = { lines: [{ sku: 'teapot', quantity: 21 }] };

  /** Placed, and in its mail. */
  async function asked(id: string): Promise<string> {
    const links = watchMails();
    await place(anOrder(id, LARGE)).expect(202);
    await eventually(() => expect(links).toHaveLength(1), PATIENCE_MS);
    return links[0]!;
  }

  function decide(link: string, decision: string): request.Test {
    return request(shop.getHttpServer()).post(link).type('form').send({ decision });
  }

  it('is charged once it is approved by the link', async () => {
    const link = await asked('large');
    expect(chargesOf('large')).toEqual([]);
    const page = await request(shop.getHttpServer()).get(link).expect(200);
    expect(page.text).toContain('<h1>Order large</h1>');
    expect(chargesOf('large')).toEqual([]);

    expect((await decide(link, 'approve').expect(200)).body).toEqual({
      decision: 'approve',
      counts: true,
    });
    expect(await ended('large')).toMatchObject({
      status: 'SHIPPED',
      receipt: { totalCents: 102_900 },
    });
    expect((await decide(link, 'reject').expect(200)).body).toMatchObject({ counts: false });
  });

  it('answers a browser with a page that says what became of the decision', async () => {
    const link = await asked('in-a-browser');
    const decided = await decide(link, 'reject').set('Accept', 'text/html').expect(200);
    expect(decided.type).toBe('text/html');
    expect(decided.text).toContain('<p>Rejected.');
    const late = await decide(link, 'approve').set('Accept', 'text/html').expect(200);
    expect(late.text).toContain('decided before');
    await ended('in-a-browser');
  });

  it('is refused when it is rejected, and its stock is given back', async () => {
    const stock = await stockOf('teapot');
    const link = await asked('rejected');
    expect(await stockOf('teapot')).toBe(stock - 21);
    await decide(link, 'reject').expect(200);
    expect(await ended('rejected')).toMatchObject({
      status: 'REFUSED',
      error: { name: 'NotApprovedError', message: expect.stringContaining('the manager said no') },
    });
    expect(chargesOf('rejected')).toEqual([]);
    expect(await stockOf('teapot')).toBe(stock);
  });

  it('is decided by nobody who only guesses', async () => {
    const link = await asked('guessed');
    const guess = await decide(link.replace(/[^/]+$/, 'x'.repeat(43)), 'approve');
    expect(guess.status).toBe(404);
    expect((await decide(link, 'maybe')).status).toBe(400);
    expect(chargesOf('guessed')).toEqual([]);
    await decide(link, 'reject').expect(200);
    await ended('guessed');
  });
});

describe('An order', () => {
  it('is accepted at once, carried out step by step, and ends with a receipt', async () => {
    const stock = await stockOf('teapot');

    const { body } = await place(anOrder('happy')).expect(202);
    const order = await ended('happy');

    expect(body).toMatchObject({
      id: 'happy',
      links: { self: '/orders/happy', page: '/orders/happy/page' },
    });
    const [charge] = chargesOf('happy');
    expect(order).toMatchObject({
      status: 'SHIPPED',
      receipt: { orderId: 'happy', totalCents: 9_800, chargeId: charge?.chargeId },
      workflow: { status: 'SUCCESS' },
    });
    expect(order.trackingCode).toBe(order.receipt?.trackingCode);
    expect(namesOf(order)).toEqual([
      'InventoryService.reserve',
      'PaymentService.charge',
      'FulfilmentWorkflow.run',
      'handle.result',
    ]);
    expect(namesOf(order.fulfilment)).toEqual([
      'drawPackingTime',
      'flow.sleep',
      'ShippingService.ship',
    ]);
    expect(await stockOf('teapot')).toBe(stock - 2);
  });

  it('is charged once, though the gateway fails and answers get lost', async () => {
    mishaps.push('unavailable', 'lost answer');

    await place(anOrder('unlucky')).expect(202);
    const order = await ended('unlucky');

    expect(order.status).toBe('SHIPPED');
    expect(order.steps).toContainEqual(
      expect.objectContaining({ name: 'PaymentService.charge', attempts: 3 }),
    );
    expect(chargesOf('unlucky')).toEqual([expect.objectContaining({ calls: 3, captures: 1 })]);
  });

  it('that is sent twice under one id is one order', async () => {
    await Promise.all([place(anOrder('twice')).expect(202), place(anOrder('twice')).expect(202)]);
    const first = await ended('twice');
    const other = { customer: 'Eve', lines: [{ sku: 'cup', quantity: 1 }] };
    const again = await place(anOrder('twice', other)).expect(202);

    expect(again.body).toMatchObject({ id: 'twice', status: 'SHIPPED' });
    expect(await report('twice')).toEqual(first);
    expect(chargesOf('twice')).toEqual([expect.objectContaining({ calls: 1, captures: 1 })]);
  });

  it('is refused when the card is declined, and its stock is given back', async () => {
    const stock = await stockOf('teapot');

    await place(anOrder('declined', { card: 'tok_declined' })).expect(202);
    const order = await ended('declined');

    expect(order).toMatchObject({
      status: 'REFUSED',
      error: {
        name: 'PaymentDeclinedError',
        message: 'The card was declined: insufficient funds.',
      },
      workflow: { status: 'ERROR' },
    });
    expect(order.steps.map(({ name, attempts }) => `${name} ${attempts}`)).toEqual([
      'InventoryService.reserve 1',
      'PaymentService.charge 1',
      'InventoryService.release 1',
      'OrdersService.refuse 1',
    ]);
    expect(await stockOf('teapot')).toBe(stock);
  });

  it('is refused when one of its products is sold out, and takes nothing of the others', async () => {
    const stock = await stockOf('cup');

    const lines = [
      { sku: 'whisk', quantity: 4 },
      { sku: 'cup', quantity: 1 },
    ];
    await place(anOrder('sold-out', { lines })).expect(202);
    const order = await ended('sold-out');

    expect(order).toMatchObject({
      status: 'REFUSED',
      error: { name: 'OutOfStockError', message: 'There is not enough of "whisk" in stock.' },
    });
    expect(chargesOf('sold-out')).toEqual([]);
    expect(await stockOf('cup')).toBe(stock);
  });

  it('goes on where it was when the shop is closed and opened again', async () => {
    packFor(1_499);
    await place(anOrder('restarted')).expect(202);
    await eventually(async () => {
      expect(namesOf((await report('restarted')).fulfilment)).toContain('flow.sleep');
    });

    await shop.close();
    shop = await openShop();
    const order = await ended('restarted');

    const health = await request(shop.getHttpServer()).get('/health').expect(200);
    expect(order).toMatchObject({
      status: 'SHIPPED',
      workflow: { executorId: health.body.info.workflows.recovery.executorId },
      fulfilment: {
        workflow: { executorId: health.body.info.workflows.recovery.executorId },
      },
    });
    expect(chargesOf('restarted')).toEqual([expect.objectContaining({ calls: 1, captures: 1 })]);
  });

  it('that nobody has placed is unknown', async () => {
    const { body } = await request(shop.getHttpServer()).get('/orders/nobody').expect(404);

    expect(body.message).toBe('There is no order "nobody".');
  });

  it('stands among the newest', async () => {
    await place(anOrder('newest')).expect(202);
    await ended('newest');

    const { body } = await request(shop.getHttpServer()).get('/orders').expect(200);

    expect(body[0]).toEqual({
      id: 'newest',
      status: 'SHIPPED',
      links: { self: '/orders/newest', page: '/orders/newest/page' },
    });
  });
});

describe('Fulfilment', () => {
  afterEach(() => fulfilment('resume'));

  it('goes through the partition of the warehouse that keeps most of the order', async () => {
    const lines = [
      { sku: 'cup', quantity: 3 },
      { sku: 'sencha', quantity: 2 },
    ];
    await place(anOrder('mixed', { lines })).expect(202);

    expect((await ended('mixed')).fulfilment).toMatchObject({
      queue: 'fulfilment',
      warehouse: 'kassel',
      workflow: { status: 'SUCCESS' },
    });
  });

  it('shows its limits', async () => {
    expect(await fulfilment()).toEqual({
      name: 'fulfilment',
      limits: {
        concurrency: 5,
        partition: { concurrency: 3, rateLimit: { limit: 10, periodMs: 5_000 } },
      },
      paused: false,
      enqueued: 0,
      delayed: 0,
      pending: 0,
      oldestEnqueuedAt: null,
    });
  });

  it('holds what is paid while it is paused, and packs it when it is resumed', async () => {
    expect(await fulfilment('pause')).toMatchObject({ paused: true });
    await place(anOrder('held')).expect(202);
    const { fulfilment: held, ...order } = await waiting('held');
    // What needs no warehouse goes on meanwhile, so the shop had its chances to pack.
    await place(anOrder('refused-meanwhile', { card: 'tok_declined' })).expect(202);
    await ended('refused-meanwhile');

    expect(order).toMatchObject({ status: 'PLACED', workflow: { status: 'PENDING' } });
    expect(chargesOf('held')).toEqual([expect.objectContaining({ captures: 1 })]);
    expect((await report('held')).fulfilment).toEqual(held);
    expect(held).toMatchObject({ queue: 'fulfilment', warehouse: 'hamburg', steps: [] });
    expect(await fulfilment()).toMatchObject({
      paused: true,
      enqueued: 1,
      pending: 0,
      oldestEnqueuedAt: held?.workflow.createdAt,
    });

    expect(await fulfilment('resume')).toMatchObject({ paused: false });
    expect(await ended('held')).toMatchObject({ status: 'SHIPPED' });
  });

  it('stays paused over a restart, and goes on with what waits', async () => {
    await fulfilment('pause');
    await place(anOrder('held-over')).expect(202);
    await waiting('held-over');

    await shop.close();
    shop = await openShop();

    expect(await fulfilment()).toMatchObject({ paused: true, enqueued: 1 });
    await fulfilment('resume');
    expect(await ended('held-over')).toMatchObject({ status: 'SHIPPED' });
    expect(chargesOf('held-over')).toEqual([expect.objectContaining({ calls: 1, captures: 1 })]);
  });
});

describe('The nightly report', () => {
  /** Two in the night of Berlin, after the day on which its clocks were put forward: one of 23 hours. */
  const TICK = new Date('2026-03-30T00:00:00Z');

  async function sell(createdAt: string, status = 'SHIPPED'): Promise<void> {
    const data = { id: `sold-${createdAt}-${status}`, customer: 'Ada', totalCents: 1_250 };
    await shop.get(PrismaService).order.create({ data: { ...data, status, createdAt } });
  }

  async function reports(): Promise<DayReport[]> {
    return (await request(shop.getHttpServer()).get('/reports').expect(200)).body;
  }

  it('has what was sold on the day that had ended before it, and one row however often it is made', async () => {
    await sell('2026-03-28T22:59:59.999Z');
    await sell('2026-03-28T23:00:00Z');
    await sell('2026-03-29T12:00:00Z', 'REFUSED');
    await sell('2026-03-29T21:59:59.999Z');
    await sell('2026-03-29T22:00:00Z');
    const workflows = shop.get(WorkflowService);

    const first = await workflows.execute(NightlyReportWorkflow).run(TICK);
    const again = await workflows.execute(NightlyReportWorkflow).run(TICK);

    expect(first).toEqual({ day: '2026-03-29', orders: 2, revenueCents: 2_500 });
    expect(again).toEqual(first);
    expect((await reports()).filter(({ day }) => day === first.day)).toEqual([first]);
  });

  it('can be made by hand, and is one row for a day as well', async () => {
    const server = request(shop.getHttpServer());
    const first = await server.post('/reports/nightly').expect(200);
    const again = await server.post('/reports/nightly').expect(200);

    const listed = await reports();
    expect(listed).toEqual(expect.arrayContaining([first.body, again.body]));
    const days = listed.map(({ day }) => day);
    expect(days).toEqual([...new Set(days)].sort().reverse());
  });

  it('is due at two in the night where the shop is', async () => {
    const schedule = await shop.get(ScheduleService).get('nightly-report');

    expect(schedule).toMatchObject({
      workflow: 'NightlyReportWorkflow.run',
      cron: '0 2 * * *',
      timeZone: 'Europe/Berlin',
      backfill: 'latest',
      status: 'active',
      declared: true,
    });
  });
});

describe('A shop that is killed', () => {
  let processes: ShopProcess[];
  let own: TestDatabase;
  let client: pg.Client;

  beforeEach(async () => {
    processes = [];
    own = await createTestDatabase();
    client = new pg.Client({ connectionString: own.url });
    await client.connect();
  });

  afterEach(async () => {
    await Promise.all(processes.map((shopProcess) => shopProcess.kill()));
    await client.end();
    await own.drop();
  });

  async function startProcess(): Promise<ShopProcess> {
    // Under the id it had before, a process takes its own work back at once.
    const environment = { DATABASE_URL: own.url, EXECUTOR_ID: 'shop-1' };
    const shopProcess = await ShopProcess.start(environment);
    processes.push(shopProcess);
    return shopProcess;
  }

  /** Holds the row of an order, so that whoever ships it has to wait. */
  async function holdOrder(id: string): Promise<void> {
    await client.query('BEGIN');
    await client.query('SELECT 1 FROM "Order" WHERE id = $1 FOR UPDATE', [id]);
  }

  async function somebodyWaits(): Promise<void> {
    await eventually(async () => {
      const { rowCount } = await client.query(
        'SELECT 1 FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid',
      );
      expect(rowCount).toBe(1);
    }, PATIENCE_MS);
  }

  /** The tracking code, once the row has one. */
  function shipped(id: string): Promise<string> {
    return eventually(async () => {
      const { rows } = await client.query('SELECT "trackingCode" FROM "Order" WHERE id = $1', [id]);
      expect(rows).toEqual([{ trackingCode: expect.any(String) }]);
      return rows[0].trackingCode;
    });
  }

  it('while it ships has shipped once and charged once in the end', async () => {
    const first = await startProcess();
    await fulfilment('pause', first.url);
    await place(anOrder('killed'), first.url).expect(202);
    await waiting('killed', first.url);
    await holdOrder('killed');
    await fulfilment('resume', first.url);
    await somebodyWaits();

    // The statement has reached the server, which carries it out: the parcel leaves, and nobody knows of it.
    await first.kill();
    await client.query('COMMIT');
    const trackingCode = await shipped('killed');
    const second = await startProcess();
    const order = await ended('killed', second.url);

    expect(order).toMatchObject({
      status: 'SHIPPED',
      trackingCode,
      receipt: { trackingCode },
      fulfilment: { workflow: { status: 'SUCCESS', recoveryAttempts: 1 } },
    });
    expect(namesOf(order.fulfilment)).toEqual([
      'drawPackingTime',
      'flow.sleep',
      'ShippingService.ship',
    ]);
    expect(chargesOf('killed')).toEqual([expect.objectContaining({ calls: 1, captures: 1 })]);
  }, 240_000);
});

describe('An order that makes no sense', () => {
  it.each([
    ['an id with a space', { id: 'a b' }, /^id: must be 1 to 64/],
    ['nobody to send it to', { customer: ' ' }, /^customer: /],
    [
      'a card number instead of a token',
      { card: '4242424242424242' },
      /^card: must be a card token/,
    ],
    ['nothing in it', { lines: [] }, /^lines: /],
    [
      'less than one of a product',
      { lines: [{ sku: 'cup', quantity: 0 }] },
      /^lines\.0\.quantity: /,
    ],
    [
      'a product the shop does not have',
      { lines: [{ sku: 'coffee', quantity: 1 }] },
      /^lines\.0\.sku: .*"coffee"/,
    ],
    [
      'a product in two lines',
      {
        lines: [
          { sku: 'cup', quantity: 1 },
          { sku: 'cup', quantity: 2 },
        ],
      },
      /^lines: must name each product once/,
    ],
  ])('is told the reason: %s', async (_what, changes, reason) => {
    const { body } = await place(anOrder('senseless', changes)).expect(400);

    expect(body.message).toEqual([expect.stringMatching(reason)]);
    await request(shop.getHttpServer()).get('/orders/senseless').expect(404);
  });
});

describe('Health', () => {
  it('shows the database and the recovery through Terminus', async () => {
    const { body } = await request(shop.getHttpServer()).get('/health').expect(200);

    expect(body).toMatchObject({
      status: 'ok',
      info: {
        workflows: {
          status: 'up',
          databaseMs: expect.any(Number),
          recovery: { phase: 'done', failed: 0, deadLettered: 0, suspended: 0 },
        },
      },
    });
  });

  it('is at the endpoints of the library as well', async () => {
    const server = shop.getHttpServer();

    expect((await request(server).get('/dbos/health/live').expect(200)).body).toEqual({
      alive: true,
    });
    expect((await request(server).get('/dbos/health/ready').expect(200)).body.ready).toBe(true);
  });

  it('has metrics for Prometheus', async () => {
    const { text } = await request(shop.getHttpServer()).get('/dbos/metrics').expect(200);

    const samples = parsePrometheus(text);
    expect(samples).toContainEqual({ name: 'dbos_executor_up', labels: {}, value: 1 });
    const ofQueue = samples.find(({ name }) => name === 'dbos_queue_depth');
    expect(ofQueue?.labels).toEqual({ queue: expect.any(String) });
  });
});
