/** What has become of an order. */
import { Injectable } from '@nestjs/common';
import { Step } from 'nestjs-dbos';
import { DATABASE_STEP } from '../prisma/database-step.js';
import { PrismaService } from '../prisma/prisma.service.js';

@Injectable()
export class OrdersService {
  constructor(private readonly prisma: PrismaService) {}

  @Step(DATABASE_STEP)
  async refuse(id: string): Promise<void> {
    await this.prisma.order.update({ where: { id }, data: { status: 'REFUSED' } });
  }
}
