/**
 * How a trace goes from the call that starts a workflow to its runs. What is carried (`traceparent`, `tracestate`,
 * `baggage`) is up to the propagator of the application.
 */
import type { Context } from '@opentelemetry/api';
import type { OpenTelemetry } from './open-telemetry.js';

/** Most of a trace that is stored: what an application carries besides it must find room, too. */
const MAX_CHARACTERS = 4_096;
/** What the field of a header can hold. */
const HEADER = /^[\x20-\x7e]*$/;

/** A carrier of context: what is around a start is put around every run of what was started, on whatever process. */
export class TraceCarrier {
  /** What it is stored under; no name that an application would give a carrier of its own. */
  readonly name = 'dbos.trace';

  constructor(private readonly api: OpenTelemetry) {}

  /**
   * The trace around the caller, as text; undefined where there is none. Nobody's start fails for a trace: baggage that is
   * too long stays behind, and so does what a propagator fails at.
   */
  capture(): string | undefined {
    const around: Record<string, string> = {};
    try {
      this.put(this.api.context.active(), around);
    } catch {
      return undefined;
    }
    const carried = withinBounds(around);
    return Object.keys(carried).length === 0 ? undefined : JSON.stringify(carried);
  }

  /** Does the work within the trace that was captured; what cannot be read is no trace. */
  run<T>(value: string, work: () => T): T {
    let within: Context;
    try {
      within = this.take(parsed(value));
    } catch {
      return work();
    }
    return this.api.context.with(within, work);
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

/** The fields that fit, the shorter before the longer: the ids of a trace are short. */
function withinBounds(fields: Readonly<Record<string, string>>): Record<string, string> {
  let characters = 0;
  const kept = Object.entries(fields)
    .filter(([, text]) => typeof text === 'string' && HEADER.test(text))
    .sort(([, one], [, other]) => one.length - other.length)
    .filter(([, { length }]) => (characters += length) <= MAX_CHARACTERS);
  return Object.fromEntries(kept);
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
