/** Whether the shop can work, and how far recovery is. */
import { Controller, Get, UseGuards } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { HealthCheck, HealthCheckService, type HealthCheckResult } from '@nestjs/terminus';
import { DbosHealthIndicator } from 'nestjs-dbos/terminus';
import { OperatorGuard } from '../config/operator.guard.js';

@ApiTags('health')
@UseGuards(OperatorGuard)
@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly workflows: DbosHealthIndicator,
  ) {}

  @Get()
  @HealthCheck()
  check(): Promise<HealthCheckResult> {
    return this.health.check([() => this.workflows.isHealthy('workflows', { details: true })]);
  }
}
