/** Hands what the engine publishes to OpenTelemetry, where the application has registered an SDK. */
import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from '../../core/logger.js';
import { loggable, redactingLogger } from '../../core/redaction.js';
import { Engine } from '../../engine/engine.js';
import { DbosHealth } from '../dbos-health.js';
import { DBOS_OPTIONS, type DbosModuleOptions } from '../dbos-options.js';
import { NestEngineLogger } from '../nest-logger.js';
import { DbosMetrics } from './dbos-metrics.js';
import { readingsOf } from './gauges.js';
import { hear, type Handlers } from './heard-events.js';
import { Instruments } from './instruments.js';
import { countedEvents } from './metric-events.js';
import { hasMetrics, hasTracing, openTelemetry } from './open-telemetry.js';
import { Spans } from './spans.js';
import { TraceCarrier } from './trace-carrier.js';

@Injectable()
export class Telemetry {
  private readonly logger: Logger;
  private readonly ends: Array<() => void> = [];

  constructor(
    @Inject(DBOS_OPTIONS) private readonly options: DbosModuleOptions,
    private readonly engine: Engine,
    private readonly health: DbosHealth,
    private readonly metrics: DbosMetrics,
  ) {
    this.logger = redactingLogger(new NestEngineLogger(), options.redact);
  }

  /** Before the launch. Without an SDK nothing is subscribed or carried, and the engine makes no event. */
  async begin(): Promise<void> {
    if (this.options.telemetry === false) return;
    const api = await openTelemetry();
    if (!api) return;
    if (hasTracing(api)) {
      const carrier = new TraceCarrier(api);
      this.engine.carriers.add(carrier);
      this.hear(new Spans(api, carrier).handlers);
    }
    if (!hasMetrics(api)) return;
    const instruments = new Instruments(api, async () => readingsOf(await this.health.readiness()));
    this.ends.push(() => instruments.close());
    this.hear(countedEvents(instruments));
  }

  /** After the shutdown: whatever ends with it is still told of. */
  end(): void {
    for (const end of this.ends.splice(0)) end();
    this.metrics.close();
  }

  private hear(handlers: Handlers): void {
    const { engineId } = this.engine.diagnostics;
    this.ends.push(
      hear(engineId, handlers, (error) =>
        this.logger.warn('An event could not be handed to OpenTelemetry', {
          error: loggable(error),
        }),
      ),
    );
  }
}
