/**
 * How a trace goes from the call that starts a workflow to its runs: as a few strings, which whoever stores them keeps
 * with the workflow. What they are (`traceparent`, `tracestate`, `baggage`) is up to the propagator of the application.
 */
import type { Context, SpanContext } from '@opentelemetry/api';
import type { OpenTelemetry } from './open-telemetry.js';

export class TraceCarrier {
  constructor(private readonly api: OpenTelemetry) {}

  /** Puts the trace of `context` in. */
  put(context: Context, carried: Record<string, string>): void {
    this.api.propagation.inject(context, carried);
  }

  /** Takes out what was put in, in a context of its own. */
  take(carried: Readonly<Record<string, string>>): Context {
    return this.api.propagation.extract(this.api.ROOT_CONTEXT, carried);
  }

  /** The span of the call; undefined where none came along. */
  origin(carried: Readonly<Record<string, string>>): SpanContext | undefined {
    return this.api.trace.getSpanContext(this.take(carried));
  }
}
