/** Why an order can be refused. Trying again would change nothing, so these are fatal to their step. */
import { FatalStepError } from 'nestjs-dbos';

export abstract class OrderRefusedError extends FatalStepError {}

export class OutOfStockError extends OrderRefusedError {
  constructor(readonly sku: string) {
    super(`There is not enough of "${sku}" in stock.`);
  }
}

export class NotApprovedError extends OrderRefusedError {}

export class PaymentDeclinedError extends OrderRefusedError {
  constructor(readonly reason: string) {
    super(`The card was declined: ${reason}.`);
  }
}
