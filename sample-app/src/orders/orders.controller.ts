/** Where orders are placed and looked at. */
import {
  Body,
  Controller,
  Get,
  HttpCode,
  HttpStatus,
  Param,
  Post,
  StandardSchemaValidationPipe,
  UsePipes,
} from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { CatalogService } from '../catalog/catalog.service.js';
import { OrderDesk } from './order-desk.service.js';
import { OrderReports, type OrderReport, type OrderSummary } from './order-reports.service.js';
import { OrderIdSchema, OrderRequestSchema, type OrderRequest } from './order.js';

@ApiTags('orders')
@Controller('orders')
@UsePipes(StandardSchemaValidationPipe)
export class OrdersController {
  constructor(
    private readonly desk: OrderDesk,
    private readonly catalog: CatalogService,
    private readonly reports: OrderReports,
  ) {}

  @Post()
  @HttpCode(HttpStatus.ACCEPTED)
  @ApiOperation({ summary: 'Place an order; from the answer on it will be carried out' })
  async place(@Body({ schema: OrderRequestSchema }) request: OrderRequest): Promise<OrderSummary> {
    const order = await this.catalog.price(request);
    await this.desk.place(order);
    return this.reports.summary(order.id);
  }

  @Get()
  @ApiOperation({ summary: 'The newest orders' })
  list(): Promise<OrderSummary[]> {
    return this.reports.newest();
  }

  @Get(':id')
  @ApiOperation({
    summary:
      'An order, its steps, where its fulfilment waits or how far it is, and its receipt or error',
  })
  show(@Param('id', { schema: OrderIdSchema }) id: string): Promise<OrderReport> {
    return this.reports.find(id);
  }
}
