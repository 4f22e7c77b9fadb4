/** Takes from the stock, and gives back; each exactly once, however often its step runs. */
import { Injectable } from '@nestjs/common';
import { Step, WorkflowContext } from 'nestjs-dbos';
import { DATABASE_STEP } from '../prisma/database-step.js';
import { PrismaService } from '../prisma/prisma.service.js';
import type { OrderLine } from './order.js';
import { OutOfStockError } from './refusals.js';

export interface Reservation {
  readonly id: string;
  readonly lines: readonly OrderLine[];
}

@Injectable()
export class InventoryService {
  constructor(
    private readonly prisma: PrismaService,
    private readonly flow: WorkflowContext,
  ) {}

  /**
   * All lines or none. They are sorted by product, so that two orders never wait for each other crosswise.
   * @throws OutOfStockError
   */
  @Step(DATABASE_STEP)
  async reserve(lines: readonly OrderLine[]): Promise<Reservation> {
    // The same at every attempt and after every crash: who finds rows with this key has taken the stock before.
    const id = this.flow.stepContext.idempotencyKey;
    await this.prisma.$transaction(async (tx) => {
      const reserved = await tx.stockReservation.createMany({
        data: lines.map(({ sku, quantity }) => ({ idempotencyKey: keyOf(id, sku), sku, quantity })),
        skipDuplicates: true,
      });
      if (reserved.count === 0) return;
      for (const { sku, quantity } of lines) {
        const taken = await tx.product.updateMany({
          where: { sku, stock: { gte: quantity } },
          data: { stock: { decrement: quantity } },
        });
        if (taken.count === 0) throw new OutOfStockError(sku);
      }
    });
    return { id, lines };
  }

  @Step(DATABASE_STEP)
  async release({ id, lines }: Reservation): Promise<void> {
    await this.prisma.$transaction(async (tx) => {
      for (const { sku, quantity } of lines) {
        const released = await tx.stockReservation.deleteMany({
          where: { idempotencyKey: keyOf(id, sku) },
        });
        if (released.count === 0) continue; // given back before
        await tx.product.update({ where: { sku }, data: { stock: { increment: quantity } } });
      }
    });
  }
}

function keyOf(reservationId: string, sku: string): string {
  return `${reservationId}/${sku}`;
}
