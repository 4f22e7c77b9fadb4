/** Takes from the stock, and gives back; each exactly once, whatever dies. */
import { Injectable } from '@nestjs/common';
import { Transaction, WorkflowContext } from 'nestjs-dbos';
import type { PrismaService } from '../prisma/prisma.service.js';
import type { OrderLine } from './order.js';
import { OutOfStockError } from './refusals.js';

@Injectable()
export class InventoryService {
  constructor(private readonly flow: WorkflowContext) {}

  /**
   * All lines or none. They are sorted by product, so that two orders never wait for each other crosswise.
   * @throws OutOfStockError, which rolls back what was taken before
   */
  @Transaction()
  async reserve(lines: readonly OrderLine[]): Promise<void> {
    const tx = this.flow.prisma<PrismaService>();
    for (const { sku, quantity } of lines) {
      const taken = await tx.product.updateMany({
        where: { sku, stock: { gte: quantity } },
        data: { stock: { decrement: quantity } },
      });
      if (taken.count === 0) throw new OutOfStockError(sku);
    }
  }

  @Transaction()
  async release(lines: readonly OrderLine[]): Promise<void> {
    const tx = this.flow.prisma<PrismaService>();
    for (const { sku, quantity } of lines)
      await tx.product.update({ where: { sku }, data: { stock: { increment: quantity } } });
  }
}
