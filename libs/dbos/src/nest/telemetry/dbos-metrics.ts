/** Metrics of this process for Prometheus; nothing is counted before somebody wants them. */
import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from '../../core/logger.js';
import { loggable, redactingLogger } from '../../core/redaction.js';
import { Engine } from '../../engine/engine.js';
import { DbosHealth } from '../dbos-health.js';
import { DBOS_OPTIONS, type DbosModuleOptions } from '../dbos-options.js';
import { NestEngineLogger } from '../nest-logger.js';
import { readingsOf } from './gauges.js';
import { hear } from './heard-events.js';
import { countedEvents } from './metric-events.js';
import { PrometheusMetrics } from './prometheus.js';

@Injectable()
export class DbosMetrics {
  private readonly metrics = new PrometheusMetrics();
  private readonly logger: Logger;
  private stop: (() => void) | undefined;
  private isClosed = false;

  constructor(
    @Inject(DBOS_OPTIONS) { redact }: DbosModuleOptions,
    private readonly engine: Engine,
    private readonly health: DbosHealth,
  ) {
    this.logger = redactingLogger(new NestEngineLogger(), redact);
  }

  /**
   * Counts from now on; `DbosMetricsController` calls it as it is made, and `prometheus()` at its first call. Until then
   * the engine does without the price of it.
   */
  collect(): void {
    if (this.isClosed) return; // a scrape may still come while the application ends
    this.stop ??= hear(this.engine.diagnostics.engineId, countedEvents(this.metrics), (error) =>
      this.logger.warn('An event could not be counted', { error: loggable(error) }),
    );
  }

  /** All metrics in the text format of Prometheus, to be served as `text/plain; version=0.0.4`. */
  async prometheus(): Promise<string> {
    this.collect();
    return this.metrics.text(readingsOf(await this.health.readiness()));
  }

  /** Counts no more; for the end of the application. */
  close(): void {
    this.isClosed = true;
    this.stop?.();
    this.stop = undefined;
  }
}
