/**
 * Spans of calls, runs and steps, made of what the engine publishes. A span is active while its body runs, so that the
 * application's own spans, and those of its HTTP and database clients, belong to it.
 */
import type { Context, Link, Span, SpanKind, Tracer } from '@opentelemetry/api';
import { describeError } from '../../core/errors.js';
import type {
  CallEvent,
  DiagnosticsSpan,
  RunEvent,
  StepEvent,
  StepReplayEvent,
  StepRetryEvent,
} from '../../engine/diagnostics-events.js';
import type { Handlers } from './heard-events.js';
import { KnownSpans } from './known-spans.js';
import { SCOPE, type OpenTelemetry } from './open-telemetry.js';
import {
  callAttributes,
  errorType,
  runAttributes,
  spanName,
  stepAttributes,
} from './span-attributes.js';
import type { TraceCarrier } from './trace-carrier.js';

/** Replays that a run's span names one by one; all of them are counted. */
const MOST_REPLAYS_NAMED = 50;

interface OpenSpan {
  readonly span: Span;
  replays: number;
}

export class Spans {
  private readonly tracer: Tracer;
  /** One that never ends, of a step that hangs in a dead run, is forgotten with its event. */
  private readonly open = new WeakMap<DiagnosticsSpan, OpenSpan>();
  private readonly known = new KnownSpans();

  constructor(
    private readonly api: OpenTelemetry,
    private readonly carrier: TraceCarrier,
  ) {
    this.tracer = api.trace.getTracer(SCOPE);
  }

  get handlers(): Handlers {
    return {
      'call.start': (event) => this.callBegan(event),
      'call.end': (event) => this.callEnded(event),
      'workflow.start': (event) => this.runBegan(event),
      'workflow.end': (event) => this.runEnded(event),
      'step.start': (event) => this.stepBegan(event),
      'step.end': (event) => this.stepEnded(event),
      'step.retry': (event) => this.stepRetried(event),
      'step.replay': (event) => this.stepReplayed(event),
    };
  }

  private callBegan(event: CallEvent): void {
    const { context, trace, SpanKind: Kind } = this.api;
    const parent = context.active();
    const attributes = callAttributes(event);
    const span = this.begin(event, {
      type: event.kind,
      kind: Kind.PRODUCER,
      attributes,
      parent,
    });
    this.carrier.put(trace.setSpan(parent, span), event.carried);
  }

  private callEnded(event: CallEvent): void {
    const span = this.take(event)?.span;
    if (event.workflowId !== undefined)
      span?.setAttribute('dbos.operation.workflow_id', event.workflowId);
    this.end(span, event);
  }

  /** In the trace of the call that started it, whichever process that was made in. */
  private runBegan(event: RunEvent): void {
    this.begin(event, {
      type: 'workflow',
      kind: this.api.SpanKind.CONSUMER,
      attributes: runAttributes(event),
      parent: this.carrier.take(event.carried),
      links: this.linksOf(event),
    });
  }

  /** A later run is linked with the one before it where that was here, else with the call that started the workflow. */
  private linksOf({ workflowId, epoch, carried }: RunEvent): Link[] {
    if (epoch === 1) return [];
    const former = this.known.take(workflowId);
    const context = former ?? this.api.trace.getSpanContext(this.carrier.take(carried));
    if (!context) return [];
    return [{ context, attributes: { 'dbos.link.type': former ? 'former_run' : 'start' } }];
  }

  private runEnded(event: RunEvent): void {
    const { span, replays = 0 } = this.take(event) ?? {};
    if (!span) return;
    span.setAttribute('dbos.workflow.outcome', event.outcome ?? 'left');
    if (replays > 0) span.setAttribute('dbos.workflow.replayed_steps', replays);
    const error = FAILED.has(event.outcome) ? (event.error ?? event.outcome) : undefined;
    this.end(span, { error });
    if (!ENDED.has(event.outcome)) this.known.keep(event.workflowId, span.spanContext());
  }

  private stepBegan(event: StepEvent): void {
    if (event.kind === 'operation') return; // waits, and what has a span of its own as a call
    const { context, SpanKind: Kind } = this.api;
    const attributes = stepAttributes(event);
    const parent = context.active();
    this.begin(event, { type: event.kind, kind: Kind.INTERNAL, attributes, parent });
  }

  private stepEnded(event: StepEvent): void {
    const span = this.take(event)?.span;
    span?.setAttribute('dbos.step.attempts', event.attempts);
    if (event.outcome === 'interrupted') {
      span?.setAttribute('dbos.step.interrupted', true);
      this.end(span, { ...event, error: undefined });
    } else {
      this.end(span, event);
    }
  }

  private stepRetried({ step, attempt, error, retryInMs }: StepRetryEvent): void {
    this.open.get(step)?.span.addEvent('dbos.step.retry', {
      'dbos.step.attempt': attempt,
      'dbos.step.retry_in_ms': Math.round(retryInMs),
      'error.type': errorType(error),
    });
  }

  private stepReplayed({ run, name, stepId }: StepReplayEvent): void {
    const entry = run && this.open.get(run);
    if (!entry) return;
    entry.replays += 1;
    if (entry.replays > MOST_REPLAYS_NAMED) return;
    entry.span.addEvent('dbos.step.replayed', {
      'dbos.operation.name': name,
      'dbos.step.id': stepId,
      'dbos.operation.cached': true,
    });
  }

  private begin(
    event: DiagnosticsSpan,
    {
      type,
      parent,
      ...options
    }: {
      readonly type: Parameters<typeof spanName>[0];
      readonly kind: SpanKind;
      readonly attributes: ReturnType<typeof callAttributes>;
      readonly parent: Context;
      readonly links?: Link[];
    },
  ): Span {
    const { context, trace } = this.api;
    const span = this.tracer.startSpan(spanName(type, event.name), options, parent);
    this.open.set(event, { span, replays: 0 });
    const active = trace.setSpan(parent, span);
    const outer = event.around;
    event.around = (work) => {
      const inside = (): ReturnType<typeof work> => context.with(active, work);
      return outer ? outer(inside) : inside();
    };
    return span;
  }

  private take(event: DiagnosticsSpan): OpenSpan | undefined {
    const entry = this.open.get(event);
    this.open.delete(event);
    return entry;
  }

  private end(span: Span | undefined, { error }: Pick<DiagnosticsSpan, 'error'>): void {
    if (!span) return;
    if (error !== undefined) {
      const message = describeError(error);
      span.setStatus({ code: this.api.SpanStatusCode.ERROR, message });
      span.setAttribute('error.type', errorType(error));
      if (error instanceof Error) span.recordException(error);
    }
    span.end();
  }
}

/** Outcomes that somebody should look at. */
const FAILED: ReadonlySet<RunEvent['outcome']> = new Set([
  'failed',
  'retrying',
  'suspended',
  'setAside',
]);
/** Outcomes after which no run follows. */
const ENDED: ReadonlySet<RunEvent['outcome']> = new Set(['succeeded', 'failed', 'cancelled']);
