/** Metrics of this process for Prometheus; nothing is counted before somebody wants them. */
import { Injectable, Logger } from '@nestjs/common';
import { Engine } from '../../engine/engine.js';
import { DbosHealth } from '../dbos-health.js';
import { readingsOf } from './gauges.js';
import { hear } from './heard-events.js';
import { countedEvents } from './metric-events.js';
import { PrometheusMetrics } from './prometheus.js';

@Injectable()
export class DbosMetrics {
  private readonly metrics = new PrometheusMetrics();
  private stop: (() => void) | undefined;

  constructor(
    private readonly engine: Engine,
    private readonly health: DbosHealth,
  ) {}

  /**
   * Counts from now on; `DbosMetricsController` calls it as it is made, and `prometheus()` at its first call. Until then
   * the engine does without the price of it.
   */
  collect(): void {
    this.stop ??= hear(this.engine.diagnostics.engineId, countedEvents(this.metrics), (error) =>
      new Logger('Dbos').warn('An event could not be counted', { error: String(error) }),
    );
  }

  /** All metrics in the text format of Prometheus, to be served as `text/plain; version=0.0.4`. */
  async prometheus(): Promise<string> {
    this.collect();
    return this.metrics.text(readingsOf(await this.health.readiness()));
  }

  /** Counts no more; for the end of the application. */
  close(): void {
    this.stop?.();
    this.stop = undefined;
  }
}
