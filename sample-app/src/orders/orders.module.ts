import { Module } from '@nestjs/common';
import { ApprovalsModule } from '../approvals/approvals.module.js';
import { CatalogModule } from '../catalog/catalog.module.js';
import { FulfilmentModule } from '../fulfilment/fulfilment.module.js';
import { ProgressModule } from '../progress/progress.module.js';
import { CheckoutWorkflow } from './checkout.workflow.js';
import { InventoryService } from './inventory.service.js';
import { OrderDesk } from './order-desk.service.js';
import { OrderReports } from './order-reports.service.js';
import { OrdersController } from './orders.controller.js';
import { OrdersService } from './orders.service.js';
import { PaymentService } from './payment.service.js';

@Module({
  imports: [CatalogModule, ApprovalsModule, FulfilmentModule, ProgressModule],
  controllers: [OrdersController],
  providers: [
    CheckoutWorkflow,
    OrderDesk,
    OrdersService,
    InventoryService,
    PaymentService,
    OrderReports,
  ],
})
export class OrdersModule {}
