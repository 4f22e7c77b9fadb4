/** A payment gateway as unreliable as real ones: `POST /charges` takes money, `GET /charges` shows the books. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { json } from 'node:stream/consumers';
import { z } from 'zod';
import type { Charge, Ledger } from './ledger.js';
import type { Mishap } from './mishaps.js';

export interface GatewayOptions {
  readonly ledger: Ledger;
  /** Asked once for each call. */
  readonly mishap: () => Mishap;
  /** How long a charge takes: half of it before the money is taken, half of it after. Default 0. */
  readonly latencyMs?: number;
  /** How long a late answer takes. Default 5,000. */
  readonly lateMs?: number;
}

const ChargeRequestSchema = z.object({
  orderId: z.string(),
  card: z.string(),
  amountCents: z.number().int().positive(),
});

/** The card that every gateway has for testing. */
const DECLINED_CARD = 'tok_declined';

export function createGateway(options: GatewayOptions): Server {
  return createServer((request, response) => {
    handle(options, request, response).catch((error: unknown) => {
      answer(response, 400, { reason: String(error) });
    });
  });
}

async function handle(
  options: GatewayOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  switch (`${request.method} ${request.url}`) {
    case 'POST /charges':
      return charge(options, request, response);
    case 'GET /charges':
      return answer(response, 200, options.ledger.charges);
    default:
      return answer(response, 404, { reason: 'Only POST /charges and GET /charges are here.' });
  }
}

async function charge(
  { ledger, mishap, latencyMs = 0, lateMs = 5_000 }: GatewayOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const key = z.string().min(1).parse(request.headers['idempotency-key']);
  const { orderId, card, amountCents } = ChargeRequestSchema.parse(await json(request));
  ledger.call(key, orderId, amountCents);
  const trouble = mishap();
  if (trouble === 'unavailable') return answer(response, 503, { reason: 'out of order' });

  await delay(latencyMs / 2);
  const decided = decide(ledger, key, card);
  if (trouble === 'lost answer') {
    request.socket.destroy();
    return;
  }
  await delay(trouble === 'late answer' ? lateMs : latencyMs / 2);
  if (decided.declined !== undefined) return answer(response, 402, { reason: decided.declined });
  return answer(response, 201, { chargeId: decided.chargeId, amountCents });
}

/** A key that was decided stays decided, whoever asks again and however often. */
function decide(ledger: Ledger, key: string, card: string): Charge {
  const known = ledger.find(key);
  if (known?.chargeId !== undefined || known?.declined !== undefined) return known;
  return card === DECLINED_CARD ? ledger.decline(key, 'insufficient funds') : ledger.capture(key);
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  if (response.destroyed) return; // nobody waits any more
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}
