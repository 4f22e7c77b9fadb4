/** OpenTelemetry's global API, where the application has it installed. Never an SDK of our own. */
import type * as Api from '@opentelemetry/api';

export type OpenTelemetry = typeof Api;

/** The instrumentation scope of all spans and instruments. */
export const SCOPE = 'nestjs-dbos';

/** Undefined where `@opentelemetry/api`, an optional peer, is not installed. */
export async function openTelemetry(): Promise<OpenTelemetry | undefined> {
  try {
    return await import('@opentelemetry/api');
  } catch {
    return undefined;
  }
}

/** Whether the application has registered a tracer provider: without one every span is a costly nothing. */
export function hasTracing({ trace, ProxyTracerProvider }: OpenTelemetry): boolean {
  const provider = trace.getTracerProvider();
  if (!(provider instanceof ProxyTracerProvider)) return true;
  return provider.getDelegate() !== new ProxyTracerProvider().getDelegate();
}

/** Whether the application has registered a meter provider. */
export function hasMetrics({ metrics, createNoopMeter }: OpenTelemetry): boolean {
  return metrics.getMeter(SCOPE).constructor !== createNoopMeter().constructor;
}
