/** `nestjs-dbos/terminus`: the indicator for `@nestjs/terminus`, written against its HealthIndicatorService only. */
import { Injectable } from '@nestjs/common';
import { HealthIndicatorService, type HealthIndicatorResult } from '@nestjs/terminus';
import { DbosHealth } from './dbos-health.js';

/** From Terminus 12 on it does. */
interface MayKnowDegraded<Key extends string> {
  readonly up: unknown;
  degraded?(details: Record<string, unknown>): HealthIndicatorResult<Key>;
}

@Injectable()
export class DbosHealthIndicator {
  constructor(
    private readonly health: DbosHealth,
    private readonly indicators: HealthIndicatorService,
  ) {}

  /**
   * `down` when the process cannot take work, `degraded` (which Terminus answers with 200) when it can and something is
   * wrong; Terminus 11 knows no `degraded`, there it is `up` with its problems.
   *
   * @example
   * ```ts
   * this.health.check([() => this.dbos.isHealthy('dbos')]);
   * ```
   */
  async isHealthy<Key extends string>(key: Key): Promise<HealthIndicatorResult<Key>> {
    const { ready, ...details } = await this.health.readiness();
    const indicator = this.indicators.check(key);
    if (!ready) return indicator.down(details);
    const session: MayKnowDegraded<Key> = indicator;
    const degraded = details.problems.length > 0 && session.degraded?.({ ...details });
    return degraded || indicator.up(details);
  }
}
