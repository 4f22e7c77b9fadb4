import * as api from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { TraceCarrier } from './trace-carrier.js';

const CALLER = {
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  traceFlags: api.TraceFlags.SAMPLED,
};

const { context, propagation, trace } = api;

describe('The carrier of a trace', () => {
  const carrier = new TraceCarrier(api);

  beforeAll(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  });

  afterAll(() => {
    context.disable();
    propagation.disable();
  });

  it('captures the trace of the caller as the W3C writes it', () => {
    const captured = context.with(trace.setSpanContext(context.active(), CALLER), () =>
      carrier.capture(),
    );
    expect(JSON.parse(captured ?? '')).toEqual({
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    });
  });

  it('captures nothing where there is no trace', () => {
    expect(carrier.capture()).toBeUndefined();
  });

  it('runs the work within the trace that was captured', () => {
    const captured = context.with(trace.setSpanContext(context.active(), CALLER), () =>
      carrier.capture(),
    );
    const around = carrier.run(captured ?? '', () => trace.getSpanContext(context.active()));
    expect(around).toMatchObject({ ...CALLER, isRemote: true });
  });

  it.each(['', 'null', '7', '{', '{"traceparent":"nonsense"}'])(
    'runs the work without a trace when what is stored is %j',
    (stored) => {
      expect(carrier.run(stored, () => trace.getSpanContext(context.active()))).toBeUndefined();
    },
  );

  it('leaves behind what is too long, or what no header can hold', () => {
    const fields = { baggage: 'b'.repeat(5_000), traceparent: 'ids', odd: 'half \ud800' };
    const captured = new TraceCarrier(propagatedBy((carried) => Object.assign(carried, fields)));

    expect(captured.capture()).toBe('{"traceparent":"ids"}');
  });

  it('lets nobody fail for a propagator that does', () => {
    const failing = new TraceCarrier(
      propagatedBy(() => {
        throw new Error('no header today');
      }),
    );

    expect(failing.capture()).toBeUndefined();
    expect(failing.run('{"traceparent":"ids"}', () => 'done')).toBe('done');
  });
});

/** The API with a propagator that does this with what it is to fill or to read. */
function propagatedBy(act: (carried: object) => void): typeof api {
  const inject = (_: unknown, carried: object): void => act(carried);
  const extract = (around: api.Context, carried: object): api.Context => {
    act(carried);
    return around;
  };
  return { ...api, propagation: { inject, extract } as never };
}
