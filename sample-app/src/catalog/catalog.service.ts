/** What the shop sells, at which price, and where it is kept. */
import { BadRequestException, Injectable } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import type { Environment } from '../config/environment.js';
import { warehouseOf } from '../fulfilment/warehouse.js';
import type { Product } from '../generated/prisma/client.js';
import type { Order, OrderRequest } from '../orders/order.js';
import { PrismaService } from '../prisma/prisma.service.js';

@Injectable()
export class CatalogService {
  constructor(
    private readonly prisma: PrismaService,
    private readonly config: ConfigService<Environment, true>,
  ) {}

  products(): Promise<Product[]> {
    return this.prisma.product.findMany({ orderBy: { sku: 'asc' } });
  }

  /**
   * Gives an order its prices and its warehouse, and says whether it needs an approval, all as of now: a replay finds
   * them in its input, whatever becomes of the catalog and of the rules. Its lines come back sorted by product.
   * @throws BadRequestException naming each line whose product the shop does not have
   */
  async price({ lines, ...request }: OrderRequest): Promise<Order> {
    const products = await this.prisma.product.findMany({
      where: { sku: { in: lines.map(({ sku }) => sku) } },
      orderBy: { sku: 'asc' },
    });
    assertAllFound(lines, products);
    const quantities = new Map(lines.map(({ sku, quantity }) => [sku, quantity]));
    const found = products.map((product) => ({
      ...product,
      quantity: quantities.get(product.sku) ?? 0,
    }));
    const totalCents = found.reduce((sum, line) => sum + line.quantity * line.priceCents, 0);
    return {
      ...request,
      lines: found.map(({ sku, quantity, priceCents }) => ({ sku, quantity, priceCents })),
      totalCents,
      warehouse: warehouseOf(found),
      needsApproval: totalCents >= this.config.get('APPROVAL_FROM_CENTS', { infer: true }),
    };
  }
}

function assertAllFound(lines: OrderRequest['lines'], products: readonly Product[]): void {
  const known = new Set(products.map(({ sku }) => sku));
  const reasons = lines.flatMap(({ sku }, index) =>
    known.has(sku) ? [] : [`lines.${index}.sku: the shop has no product "${sku}"`],
  );
  if (reasons.length > 0) throw new BadRequestException(reasons);
}
