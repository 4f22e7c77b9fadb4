/** Two ways to ask for health: through Terminus, and the library's own endpoints, which need no dependency. */
import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { DbosHealthController } from 'nestjs-dbos';
import { DbosHealthIndicator } from 'nestjs-dbos/terminus';
import { HealthController } from './health.controller.js';

@Module({
  imports: [TerminusModule],
  controllers: [HealthController, DbosHealthController],
  providers: [DbosHealthIndicator],
})
export class HealthModule {}
