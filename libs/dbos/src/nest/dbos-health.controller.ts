/**
 * Health endpoints without a dependency, for applications that mount them: `controllers: [DbosHealthController]`. Open, as
 * probes need them, and so they tell no more than the status and how recovery stands; `DbosHealthDetailsController` tells the rest.
 */
import { Controller, Get, Header, ServiceUnavailableException } from '@nestjs/common';
import { DbosHealth, statusOf, type DbosReadinessStatus } from './dbos-health.js';

@Controller('dbos/health')
export class DbosHealthController {
  constructor(private readonly health: DbosHealth) {}

  @Get('live')
  @Header('Cache-Control', 'no-store')
  live(): { readonly alive: true } {
    return this.health.liveness();
  }

  /** 200 when ready, 503 with the reason when not. */
  @Get('ready')
  @Header('Cache-Control', 'no-store')
  async ready(): Promise<DbosReadinessStatus> {
    const status = statusOf(await this.health.readiness());
    if (!status.ready) throw new ServiceUnavailableException(status);
    return status;
  }
}
