/** Takes orders: the order's rows and its checkout are there together, or not at all. */
import { Injectable } from '@nestjs/common';
import { WorkflowService } from 'nestjs-dbos';
import { PrismaService } from '../prisma/prisma.service.js';
import { CheckoutWorkflow } from './checkout.workflow.js';
import type { Order } from './order.js';

@Injectable()
export class OrderDesk {
  constructor(
    private readonly prisma: PrismaService,
    private readonly workflows: WorkflowService,
  ) {}

  /** From the commit on it will be carried out. Placing it twice is placing it once. */
  async place(order: Order): Promise<void> {
    const { id, customer, totalCents, lines } = order;
    await this.prisma.$transaction(async (tx) => {
      const placed = { id, customer, totalCents, status: 'PLACED' };
      const { count } = await tx.order.createMany({ data: placed, skipDuplicates: true });
      if (count === 0) return; // it is there, and its checkout with it
      await tx.orderLine.createMany({ data: lines.map((line) => ({ orderId: id, ...line })) });
      await this.workflows.start(CheckoutWorkflow, { tx, workflowId: id }).run(order);
    });
  }
}
