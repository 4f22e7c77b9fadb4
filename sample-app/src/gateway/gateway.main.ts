/** The payment gateway as a process of its own. It ends with the process that started it; its books stay. */
import type { AddressInfo } from 'node:net';
import { z } from 'zod';
import { createGateway } from './gateway-server.js';
import { Ledger } from './ledger.js';
import { randomMishaps } from './mishaps.js';

const settings = z
  .object({
    GATEWAY_PORT: z.coerce.number().int().min(0).max(65_535).default(3999),
    /** Share of calls that go wrong. */
    GATEWAY_FAILURE_RATE: z.coerce.number().min(0).max(1).default(0.3),
    GATEWAY_SEED: z.coerce.number().int().default(1),
    GATEWAY_LATENCY_MS: z.coerce.number().min(0).default(50),
    GATEWAY_LEDGER: z.string().min(1).default('gateway-ledger.log'),
  })
  .parse(process.env);

const gateway = createGateway({
  ledger: new Ledger(settings.GATEWAY_LEDGER),
  mishap: randomMishaps(settings.GATEWAY_FAILURE_RATE, settings.GATEWAY_SEED),
  latencyMs: settings.GATEWAY_LATENCY_MS,
});

process.once('disconnect', () => process.exit());
gateway.once('error', (error) => {
  process.stderr.write(`The payment gateway cannot listen: ${error.message}. Set GATEWAY_PORT.\n`);
  process.exit(1);
});
gateway.listen(settings.GATEWAY_PORT, '127.0.0.1', () => {
  const { port } = gateway.address() as AddressInfo;
  process.send?.({ url: `http://127.0.0.1:${port}` });
});
