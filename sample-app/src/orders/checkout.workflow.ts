/** From an order to a receipt, whatever dies on the way. */
import { Injectable } from '@nestjs/common';
import { Workflow, WorkflowContext } from 'nestjs-dbos';
import { InventoryService } from './inventory.service.js';
import type { Order, Receipt } from './order.js';
import { OrdersService } from './orders.service.js';
import { PaymentService } from './payment.service.js';
import { OrderRefusedError } from './refusals.js';
import { ShippingService } from './shipping.service.js';

@Injectable()
export class CheckoutWorkflow {
  constructor(
    private readonly orders: OrdersService,
    private readonly inventory: InventoryService,
    private readonly payments: PaymentService,
    private readonly shipping: ShippingService,
    private readonly flow: WorkflowContext,
  ) {}

  @Workflow()
  async run(order: Order): Promise<Receipt> {
    await this.orders.open(order);
    const chargeId = await this.reserveAndCharge(order);

    // Chance belongs in a step: a replay after a crash then packs for as long as the first run has drawn.
    const packingMs = await this.flow.step('drawPackingTime', () => 500 + Math.random() * 1_000);
    await this.flow.sleep(packingMs);

    const trackingCode = await this.shipping.ship(order.id);
    return { orderId: order.id, totalCents: order.totalCents, chargeId, trackingCode };
  }

  /**
   * A refusal undoes what was done so far, newest first, and is the outcome. Any other error is the outcome as well,
   * but undoes nothing: whether a gateway that failed eleven times has charged the card is for a person to find out.
   */
  private async reserveAndCharge(order: Order): Promise<string> {
    const compensations = [() => this.orders.refuse(order.id)];
    try {
      const reservation = await this.inventory.reserve(order.lines);
      compensations.unshift(() => this.inventory.release(reservation));
      return await this.payments.charge(order);
    } catch (error) {
      if (error instanceof OrderRefusedError) {
        for (const compensate of compensations) await compensate();
      }
      throw error;
    }
  }
}
