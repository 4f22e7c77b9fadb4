/** `nestjs-dbos/terminus`: the indicator for `@nestjs/terminus`, written against its HealthIndicatorService only. */
import { Injectable } from '@nestjs/common';
import { HealthIndicatorService, type HealthIndicatorResult } from '@nestjs/terminus';
import { DbosHealth, statusOf } from './dbos-health.js';

export interface HealthIndicatorOptions {
  /** Whether all that health knows is told. Default false. */
  readonly details?: boolean;
}

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
   * What of it may be told depends on who asks: without `details` it is the status, the reason, the codes of the
   * problems and the counts of the recovery; names and other figures are for an endpoint that is guarded.
   *
   * `down` when the process cannot take work, `degraded` (which Terminus answers with 200) when it can and something is
   * wrong; Terminus 11 knows no `degraded`, there it is `up` with its problems.
   *
   * @example
   * ```ts
   * this.health.check([() => this.dbos.isHealthy('dbos')]);
   * ```
   */
  async isHealthy<Key extends string>(
    key: Key,
    options: HealthIndicatorOptions = {},
  ): Promise<HealthIndicatorResult<Key>> {
    const readiness = await this.health.readiness();
    const { ready, ...rest } = options.details ? readiness : statusOf(readiness);
    const details: Record<string, unknown> = rest;
    const indicator = this.indicators.check(key);
    if (!ready) return indicator.down(details);
    const session: MayKnowDegraded<Key> = indicator;
    const degraded = rest.problems.length > 0 && session.degraded?.({ ...details });
    return degraded || indicator.up(details);
  }
}
