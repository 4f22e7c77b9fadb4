// OpenTelemetry as an application sets it up before its bootstrap, with spans and metrics kept in memory.
import { context, metrics, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-base';
import { eventually } from './eventually.js';

/** Nothing is exported by itself. */
const NEVER_MS = 3_600_000;

export class TestTelemetry {
  private readonly exporter = new InMemorySpanExporter();
  private readonly metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  private readonly meters = new MeterProvider({
    readers: [
      new PeriodicExportingMetricReader({
        exporter: this.metricExporter,
        exportIntervalMillis: NEVER_MS,
      }),
    ],
  });

  constructor() {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    const spanProcessors = [new SimpleSpanProcessor(this.exporter)];
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors }));
    metrics.setGlobalMeterProvider(this.meters);
  }

  /** In the order in which they ended. */
  get spans(): ReadableSpan[] {
    return this.exporter.getFinishedSpans();
  }

  /** The spans of this name, once there are so many. */
  async ended(name: string, count = 1): Promise<ReadableSpan[]> {
    return eventually(() => {
      const found = this.spans.filter((span) => span.name === name);
      if (found.length < count) throw new Error(`${found.length} spans "${name}" have ended.`);
      return found;
    });
  }

  async one(name: string): Promise<ReadableSpan> {
    const [span] = await this.ended(name);
    return span!;
  }

  /** The values of a metric as they are now, with their attributes. */
  async metric(name: string): Promise<Array<{ attributes: unknown; value: unknown }>> {
    this.metricExporter.reset();
    await this.meters.forceFlush();
    const [resource] = this.metricExporter.getMetrics();
    const all = resource?.scopeMetrics.flatMap((scope) => scope.metrics) ?? [];
    const found = all.find(({ descriptor }) => descriptor.name === name);
    return (found?.dataPoints ?? []).map(({ attributes, value }) => ({ attributes, value }));
  }

  reset(): void {
    this.exporter.reset();
  }

  /** As if nobody had ever set anything up. */
  async disable(): Promise<void> {
    await this.meters.shutdown();
    context.disable();
    propagation.disable();
    trace.disable();
    metrics.disable();
  }
}
