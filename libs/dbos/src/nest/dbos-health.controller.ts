/** Health endpoints without a dependency, for applications that mount them: `controllers: [DbosHealthController]`. */
import { Controller, Get, Header, ServiceUnavailableException } from '@nestjs/common';
import { DbosHealth, type DbosReadiness } from './dbos-health.js';

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
  async ready(): Promise<DbosReadiness> {
    const readiness = await this.health.readiness();
    if (!readiness.ready) throw new ServiceUnavailableException(readiness);
    return readiness;
  }
}
