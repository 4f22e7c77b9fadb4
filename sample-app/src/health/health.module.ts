/** Health through Terminus, and the library's own endpoints for health and metrics, which need no dependency. */
import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { DbosHealthController, DbosMetricsController } from 'nestjs-dbos';
import { DbosHealthIndicator } from 'nestjs-dbos/terminus';
import { HealthController } from './health.controller.js';

@Module({
  imports: [TerminusModule],
  controllers: [HealthController, DbosHealthController, DbosMetricsController],
  providers: [DbosHealthIndicator],
})
export class HealthModule {}
