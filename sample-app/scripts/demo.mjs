// The story of the sample shop, told by itself: 20 orders, a server killed in the middle of them, 20 receipts.
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { buildSampleApp, MAIN } from './build-sample-app.mjs';
import { ChildProcesses } from './demo/child-processes.mjs';
import { createDemoDatabase } from './demo/demo-database.mjs';
import { waitFor } from './demo/patience.mjs';
import { rowsOf, summaryOf } from './demo/report.mjs';
import { ShopClient } from './demo/shop-client.mjs';
import { table } from './demo/table.mjs';
import { ensureDatabase } from './ensure-database.mjs';

const GATEWAY_MAIN = join(dirname(MAIN), 'gateway/gateway.main.js');
const ORDERS = 20;
const PAUSE_BETWEEN_ORDERS_MS = 50;
const GATEWAY_LATENCY_MS = 300;
/** By then orders are at every step, and some customers have not had an answer yet. */
const CHARGED_WHEN_KILLED = 12;
const LOG_FILE = 'demo-shop.log';
const LIMIT_MS = 120_000;
const PRODUCTS = ['sencha', 'cup', 'teapot'];

process.chdir(fileURLToPath(new URL('../..', import.meta.url)));

const interruption = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => interruption.abort(new Error(`interrupted by ${signal}`)));
}

try {
  process.exitCode = conclude(await demo()) ? 0 : 1;
} catch (error) {
  say((interruption.signal.reason ?? error).message);
  process.exitCode = 1;
}

/** Provides what the story needs, and clears it away. */
async function demo() {
  await buildSampleApp(say);
  const database = await ensureDatabase(say);
  await rm(LOG_FILE, { force: true });
  const directory = await mkdtemp(join(tmpdir(), 'shop-demo-'));
  const children = new ChildProcesses();
  try {
    const databaseUrl = await createDemoDatabase(database.url);
    return await story({ databaseUrl, directory, children });
  } finally {
    await children.endAll();
    await database.release();
    await rm(directory, { recursive: true });
  }
}

async function story({ databaseUrl, directory, children }) {
  const gatewayUrl = await startGateway(children, directory);
  const port = await freePort();
  const shop = new ShopClient(`http://127.0.0.1:${port}`);
  const startShop = async () => {
    const env = {
      DATABASE_URL: databaseUrl,
      GATEWAY_URL: gatewayUrl,
      PORT: String(port),
      // Under the id it had before, a server takes its own work back at once.
      EXECUTOR_ID: 'shop-1',
    };
    const server = children.start({ main: MAIN, env, logFile: LOG_FILE });
    await within(`The start of the server (see ${LOG_FILE})`, () => shop.health());
    return server;
  };

  const server = await startShop();
  say(`The server runs as process ${server.pid}; placing ${ORDERS} orders`);
  const orders = newOrders();
  const [unanswered] = await Promise.all([
    placeAll(shop, orders),
    killMidWay({ children, server, shop, gatewayUrl }),
  ]);

  const restarted = await startShop();
  const restartedAt = performance.now();
  say(`The server runs again, as process ${restarted.pid}`);
  if (unanswered.length > 0) {
    say(
      `${unanswered.length} orders got no answer: the customers send them again, under the same ids`,
    );
    await placeAll(shop, unanswered);
  }
  const ended = await allEnded(shop, orders);
  const seconds = ((performance.now() - restartedAt) / 1000).toFixed(1);
  const { found } = (await shop.health()).info.workflows.recovery;
  say(`All orders have ended ${seconds} s later; ${found} unfinished workflows were recovered`);
  return { orders: ended, charges: await chargesAt(gatewayUrl) };
}

async function startGateway(children, directory) {
  const gateway = children.start({
    main: GATEWAY_MAIN,
    env: {
      GATEWAY_PORT: '0',
      GATEWAY_LEDGER: join(directory, 'ledger.log'),
      GATEWAY_SEED: String(Date.now() % 1_000_000),
      GATEWAY_LATENCY_MS: String(GATEWAY_LATENCY_MS),
    },
    logFile: LOG_FILE,
  });
  const [{ url }] = await once(gateway, 'message', { signal: AbortSignal.timeout(LIMIT_MS) });
  say(`The payment gateway runs as process ${gateway.pid}; 3 calls in 10 go wrong`);
  return url;
}

function newOrders() {
  return Array.from({ length: ORDERS }, (_, index) => ({
    id: `order-${String(index + 1).padStart(2, '0')}`,
    customer: `Customer ${index + 1}`,
    card: 'tok_visa',
    lines: [{ sku: PRODUCTS[index % PRODUCTS.length], quantity: 1 }],
  }));
}

/** @returns the orders that got no answer */
async function placeAll(shop, orders) {
  const unanswered = [];
  for (const order of orders) {
    if (!(await shop.place(order))) unanswered.push(order);
    await delay(PAUSE_BETWEEN_ORDERS_MS, undefined, { signal: interruption.signal });
  }
  return unanswered;
}

async function killMidWay({ children, server, shop, gatewayUrl }) {
  const captured = await within('Charging the first cards', async () => {
    const charges = (await chargesAt(gatewayUrl)).filter(({ captures }) => captures > 0);
    return charges.length >= CHARGED_WHEN_KILLED ? charges.length : undefined;
  });
  const queue = await within('Looking at the warehouses', () => shop.fulfilment());
  await children.end(server, 'SIGKILL');
  say(
    `kill -9 ${server.pid}: ${captured} of ${ORDERS} cards are charged, ${queue.pending} orders are being packed, ` +
      `${queue.enqueued} wait for that`,
  );
}

function allEnded(shop, orders) {
  return within(`Finishing all orders (see ${LOG_FILE})`, async () => {
    const reports = await Promise.all(orders.map(({ id }) => shop.order(id)));
    return reports.every((report) => report?.workflow.completedAt) ? reports : undefined;
  });
}

/** @returns {boolean} whether the story had its happy end */
function conclude({ orders, charges }) {
  const { receipts, chargedTwice, notCharged } = summaryOf(orders, charges);
  process.stdout.write(`
${table(rowsOf(orders, charges))}

The steps show their attempts in the life of the server that recorded them; queued is how long a paid order
waited for its warehouse; calls and captures are what the payment gateway counted over both lives.

${ORDERS} orders, ${receipts} receipts, ${chargedTwice} charged twice, killed once
`);
  return receipts === ORDERS && chargedTwice === 0 && notCharged === 0;
}

async function chargesAt(gatewayUrl) {
  return (await fetch(`${gatewayUrl}/charges`)).json();
}

function within(what, ask) {
  return waitFor({ what, limitMs: LIMIT_MS, signal: interruption.signal }, ask);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

function say(line) {
  process.stdout.write(`[demo] ${line.replaceAll('\n', '\n       ')}\n`);
}
