/** `nestjs-dbos/terminus`: the indicator for `@nestjs/terminus`, written against its HealthIndicatorService only. */
import { Injectable } from '@nestjs/common';
import { HealthIndicatorService, type HealthIndicatorResult } from '@nestjs/terminus';
import { DbosHealth } from './dbos-health.js';

@Injectable()
export class DbosHealthIndicator {
  constructor(
    private readonly health: DbosHealth,
    private readonly indicators: HealthIndicatorService,
  ) {}

  /**
   * @example
   * ```ts
   * this.health.check([() => this.dbos.isHealthy('dbos')]);
   * ```
   */
  async isHealthy<Key extends string>(key: Key): Promise<HealthIndicatorResult<Key>> {
    const { ready, ...details } = await this.health.readiness();
    const indicator = this.indicators.check(key);
    return ready ? indicator.up(details) : indicator.down(details);
  }
}
