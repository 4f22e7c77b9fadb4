/** From an order to a receipt, whatever dies on the way. */
import { Injectable } from '@nestjs/common';
import {
  InjectQueue,
  Queue,
  TokenExpiredError,
  TokenRejectedError,
  Workflow,
  WorkflowContext,
} from 'nestjs-dbos';
import { ApprovalMail } from '../approvals/approval-mail.service.js';
import { FULFILMENT_QUEUE, fulfilmentIdOf } from '../fulfilment/fulfilment.queue.js';
import { FulfilmentWorkflow } from '../fulfilment/fulfilment.workflow.js';
import { ProgressService } from '../progress/progress.service.js';
import { InventoryService } from './inventory.service.js';
import type { Order, Receipt } from './order.js';
import { OrdersService } from './orders.service.js';
import { PaymentService } from './payment.service.js';
import { NotApprovedError, OrderRefusedError } from './refusals.js';

@Injectable()
export class CheckoutWorkflow {
  constructor(
    private readonly orders: OrdersService,
    private readonly inventory: InventoryService,
    private readonly payments: PaymentService,
    private readonly progress: ProgressService,
    private readonly mail: ApprovalMail,
    private readonly flow: WorkflowContext,
    @InjectQueue(FULFILMENT_QUEUE) private readonly fulfilments: Queue,
  ) {}

  @Workflow()
  async run(order: Order): Promise<Receipt> {
    await this.progress.tell({ stage: 'placed' });
    const chargeId = await this.reserveAndCharge(order);
    const trackingCode = await this.fulfil(order);
    return { orderId: order.id, totalCents: order.totalCents, chargeId, trackingCode };
  }

  /**
   * A refusal undoes what was done so far, newest first, and is the outcome. Any other error is the outcome as well,
   * but undoes nothing: whether a gateway that failed eleven times has charged the card is for a person to find out.
   */
  private async reserveAndCharge(order: Order): Promise<string> {
    const compensations = [() => this.orders.refuse(order.id)];
    try {
      await this.inventory.reserve(order.lines);
      compensations.unshift(() => this.inventory.release(order.lines));
      await this.progress.tell({ stage: 'reserved' });
      if (order.needsApproval) await this.obtainApproval(order);
      const chargeId = await this.payments.charge(order);
      await this.progress.tell({ stage: 'charged' });
      return chargeId;
    } catch (error) {
      if (error instanceof OrderRefusedError) {
        for (const compensate of compensations) await compensate();
        await this.progress.tell({ stage: 'refused', reason: error.message });
      }
      throw error;
    }
  }

  /**
   * The goods are reserved meanwhile, and the workflow waits in the database, for days if need be.
   * @throws NotApprovedError when somebody says no, or nobody anything
   */
  private async obtainApproval(order: Order): Promise<void> {
    const approval = await this.flow.createToken<void>({ timeout: '2d' });
    await this.mail.ask(order, approval.token);
    await this.progress.tell({ stage: 'asking' });
    try {
      await approval.wait();
    } catch (error) {
      if (error instanceof TokenRejectedError) throw new NotApprovedError(error.message);
      if (error instanceof TokenExpiredError) throw new NotApprovedError('Nobody approved it.');
      throw error;
    }
  }

  /** A child on the queue, where it waits its turn. A replay after a crash waits for the same one. */
  private async fulfil({ id, warehouse }: Order): Promise<string> {
    const fulfilment = await this.fulfilments
      .enqueue(FulfilmentWorkflow, { workflowId: fulfilmentIdOf(id), partitionKey: warehouse })
      .run(id);
    await this.progress.tell({ stage: 'queued' });
    return fulfilment.result();
  }
}
