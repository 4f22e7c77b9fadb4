/** Charges cards at the payment gateway, which fails often enough. */
import { Injectable } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { Step, WorkflowContext } from 'nestjs-dbos';
import { z } from 'zod';
import type { Environment } from '../config/environment.js';
import { ProgressService } from '../progress/progress.service.js';
import type { Order } from './order.js';
import { PaymentDeclinedError } from './refusals.js';

const ChargeSchema = z.object({ chargeId: z.string() });
const DeclineSchema = z.object({ reason: z.string() });

@Injectable()
export class PaymentService {
  constructor(
    private readonly config: ConfigService<Environment, true>,
    private readonly flow: WorkflowContext,
    private readonly progress: ProgressService,
  ) {}

  /**
   * An answer that is late or lost leaves open whether the card was charged. Asking again is safe all the same: the
   * key stays the same at every attempt and after every crash, and the gateway charges a key once.
   * @throws PaymentDeclinedError which ends the step at once, whatever retries remain
   */
  @Step({ maxRetries: 10, maxIntervalMs: 5_000, timeoutMs: 2_000 })
  async charge({ id, card, totalCents }: Order): Promise<string> {
    const { idempotencyKey, signal, attempt } = this.flow.stepContext;
    await this.progress.tell({ stage: 'charging', attempt });
    const response = await fetch(new URL('/charges', this.config.get('GATEWAY_URL')), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': idempotencyKey },
      body: JSON.stringify({ orderId: id, card, amountCents: totalCents }),
      signal,
    });
    if (response.status === 402) {
      throw new PaymentDeclinedError(DeclineSchema.parse(await response.json()).reason);
    }
    if (!response.ok) throw new Error(`The payment gateway answered ${response.status}.`);
    return ChargeSchema.parse(await response.json()).chargeId;
  }
}
