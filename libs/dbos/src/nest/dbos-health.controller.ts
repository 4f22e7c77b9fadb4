/**
 * Health endpoints without a dependency, for applications that mount them: `controllers: [DbosHealthController]`. Open, as
 * probes need them, and so they tell no more than the status; `DbosHealthDetailsController` tells the rest.
 */
import { Controller, Get, Header, ServiceUnavailableException } from '@nestjs/common';
import { DbosHealth, type DbosReadiness } from './dbos-health.js';

/** Whether the process can take work, and if not, why. */
export type DbosReadinessStatus = Pick<DbosReadiness, 'ready' | 'reason'>;

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
    const { ready, reason } = await this.health.readiness();
    const status: DbosReadinessStatus = reason === undefined ? { ready } : { ready, reason };
    if (!ready) throw new ServiceUnavailableException(status);
    return status;
  }
}
