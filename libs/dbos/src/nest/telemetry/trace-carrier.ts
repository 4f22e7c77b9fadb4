/**
 * How a trace goes from the call that starts a workflow to its runs. What is carried (`traceparent`, `tracestate`,
 * `baggage`) is up to the propagator of the application.
 */
import type { Context } from '@opentelemetry/api';
import type { OpenTelemetry } from './open-telemetry.js';

/** A carrier of context: what is around a start is put around every run of what was started, on whatever process. */
export class TraceCarrier {
  /** What it is stored under. */
  readonly name = 'trace';

  constructor(private readonly api: OpenTelemetry) {}

  /** The trace around the caller, as text; undefined where there is none. */
  capture(): string | undefined {
    const carried: Record<string, string> = {};
    this.put(this.api.context.active(), carried);
    return Object.keys(carried).length === 0 ? undefined : JSON.stringify(carried);
  }

  /** Does the work within the trace that was captured; what cannot be read is no trace. */
  run<T>(value: string, work: () => T): T {
    return this.api.context.with(this.take(parsed(value)), work);
  }

  /** Puts the trace of `context` in. */
  put(context: Context, carried: Record<string, string>): void {
    this.api.propagation.inject(context, carried);
  }

  /** Takes out what was put in; where that is nothing, the trace that is around. */
  take(carried: Readonly<Record<string, string>>): Context {
    const around = this.api.context.active();
    return Object.keys(carried).length === 0
      ? around
      : this.api.propagation.extract(around, carried);
  }
}

function parsed(value: string): Record<string, string> {
  try {
    const carried = JSON.parse(value) as unknown;
    return typeof carried === 'object' && carried !== null
      ? (carried as Record<string, string>)
      : {};
  } catch {
    return {};
  }
}
