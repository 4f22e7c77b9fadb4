import type { SpanContext } from '@opentelemetry/api';
import { KnownSpans } from './known-spans.js';

const contextOf = (spanId: string): SpanContext => ({ traceId: 'trace', spanId, traceFlags: 1 });

describe('The last spans of workflows that left', () => {
  it('are given once', () => {
    const known = new KnownSpans();
    known.keep('order', contextOf('first'));
    known.keep('order', contextOf('second'));
    expect(known.take('order')?.spanId).toBe('second');
    expect(known.take('order')).toBeUndefined();
  });

  it('are those of the ten thousand that left last', () => {
    const known = new KnownSpans();
    for (let index = 0; index <= 10_000; index += 1) known.keep(`order-${index}`, contextOf('any'));
    expect(known.take('order-0')).toBeUndefined();
    expect(known.take('order-1')).toBeDefined();
  });
});
