/** The rows of an order, and what has become of it. */
import { Injectable } from '@nestjs/common';
import { Step } from 'nestjs-dbos';
import { DATABASE_STEP } from '../prisma/database-step.js';
import { PrismaService } from '../prisma/prisma.service.js';
import type { Order } from './order.js';

@Injectable()
export class OrdersService {
  constructor(private readonly prisma: PrismaService) {}

  /** A step may run twice, if the process dies before its checkpoint: the second time these rows are there. */
  @Step(DATABASE_STEP)
  async open({ id, customer, totalCents, lines }: Order): Promise<void> {
    await this.prisma.$transaction([
      this.prisma.order.createMany({
        data: { id, customer, totalCents, status: 'PLACED' },
        skipDuplicates: true,
      }),
      this.prisma.orderLine.createMany({
        data: lines.map((line) => ({ orderId: id, ...line })),
        skipDuplicates: true,
      }),
    ]);
  }

  @Step(DATABASE_STEP)
  async refuse(id: string): Promise<void> {
    await this.prisma.order.update({ where: { id }, data: { status: 'REFUSED' } });
  }
}
