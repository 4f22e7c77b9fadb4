import { Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { DbosModule } from 'nestjs-dbos';
import { EnvironmentSchema } from './config/environment.js';
import { OperatorGuard } from './config/operator.guard.js';
import { HealthModule } from './health/health.module.js';
import { OrdersModule } from './orders/orders.module.js';
import { OutOfStockError, PaymentDeclinedError } from './orders/refusals.js';
import { PrismaModule } from './prisma/prisma.module.js';
import { PrismaService } from './prisma/prisma.service.js';
import { ReportsModule } from './reports/reports.module.js';

@Module({
  imports: [
    ConfigModule.forRoot({
      isGlobal: true,
      ignoreEnvFile: true,
      validationSchema: EnvironmentSchema,
    }),
    PrismaModule,
    OrdersModule,
    ReportsModule,
    HealthModule,
    DbosModule.forRoot({
      prisma: PrismaService,
      // The checkout asks for these with `instanceof`, also when a replay reads them from the database.
      errors: [OutOfStockError, PaymentDeclinedError],
      executorId: process.env['EXECUTOR_ID'],
      endpoints: { guard: OperatorGuard },
    }),
  ],
})
export class AppModule {}
