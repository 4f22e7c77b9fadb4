/** Asks a person to approve an order. A real shop would send a mail; this one writes it into its log. */
import { Injectable, Logger } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { Step } from 'nestjs-dbos';
import type { Environment } from '../config/environment.js';
import type { Order } from '../orders/order.js';

@Injectable()
export class ApprovalMail {
  private readonly logger = new Logger('Mail to the manager');

  constructor(private readonly config: ConfigService<Environment, true>) {}

  /** Should the process die on the way, another mail goes out with another token: both are good, for one decision. */
  @Step({ maxRetries: 5 })
  async ask({ id, customer, totalCents }: Order, token: string): Promise<void> {
    const total = (totalCents / 100).toFixed(2);
    const link = new URL(`/approvals/${id}/${token}`, this.publicUrl).href;
    this.logger.log(`Order ${id} of ${customer} over ${total} waits for your approval: ${link}`);
  }

  private get publicUrl(): string {
    const ownUrl = `http://127.0.0.1:${this.config.get('PORT', { infer: true })}`;
    return this.config.get('PUBLIC_URL', { infer: true }) ?? ownUrl;
  }
}
