// Carriers by themselves: what they may be and say, and what becomes of work around which they fail.
import { AsyncLocalStorage } from 'node:async_hooks';
import type { PayloadCodec } from '../core/serialization/payload-codec.js';
import { SerializerSet } from '../core/serialization/serializer.js';
import { ContextCarriers, type ContextCarrier } from './context-carriers.js';

const around = new AsyncLocalStorage<string>();

const carrierOf = (name: string, more: Partial<ContextCarrier> = {}): ContextCarrier => ({
  name,
  capture: () => around.getStore(),
  run: (value, work) => around.run(`${around.getStore() ?? ''}${name}=${value};`, work),
  ...more,
});

function carriersOf(...carriers: ContextCarrier[]): ContextCarriers {
  const all = new ContextCarriers(new SerializerSet());
  for (const carrier of carriers) all.add(carrier);
  return all;
}

const restored = <T>(carriers: ContextCarriers, context: Record<string, string>, work: () => T) =>
  carriers.restore('order-7', context, work);

const fail = (): never => {
  throw new Error('no way');
};

describe('A carrier', () => {
  it('needs a name, a method to capture and one to run', () => {
    expect(() => carriersOf(carrierOf(''))).toThrow('The name of a context carrier');
    for (const method of ['capture', 'run'])
      expect(() => carriersOf(carrierOf('user', { [method]: undefined }))).toThrow(
        'The context carrier "user" needs the methods capture() and run(value, work).',
      );
  });

  it('has a name of its own', () => {
    expect(() => carriersOf(carrierOf('user'), carrierOf('user'))).toThrow(
      'two context carriers named "user"',
    );
  });
});

describe('What is captured', () => {
  const captured = (capture: () => unknown, inherited?: Record<string, string>): unknown =>
    carriersOf(carrierOf('user', { capture: capture as ContextCarrier['capture'] })).capture(
      inherited,
    );

  it('is what each of them says, before what is inherited', () => {
    const inherited = { user: 'eve', tenant: 'acme' };
    expect(captured(() => 'ada', inherited)).toEqual({ user: 'ada', tenant: 'acme' });
    expect(captured(() => undefined, inherited)).toEqual(inherited);
  });

  it('is nothing where none has something to say', () => {
    expect(captured(() => undefined)).toBeUndefined();
    expect(carriersOf().capture()).toBeUndefined();
  });

  it('is the very same that is inherited where there are no carriers', () => {
    const inherited = { user: 'eve' };
    expect(carriersOf().capture(inherited)).toBe(inherited);
  });

  it.each<[string, () => unknown, string]>([
    ['throws', fail, 'its capture() threw'],
    ['is no text', () => 7, 'its capture() gave number, no text'],
    ['is a promise', () => Promise.resolve('ada'), 'gave object, no text'],
    ['has a NUL', () => 'a\0', 'PostgreSQL cannot hold its text'],
    ['has half a character', () => 'a\udc00', 'PostgreSQL cannot hold its text'],
  ])('is refused when it %s', (_what, capture, reason) => {
    expect(() => captured(capture)).toThrow(reason);
  });

  it('is bounded for all together, to the character', () => {
    const two = (lengths: number[]): unknown =>
      carriersOf(
        ...lengths.map((length, index) =>
          carrierOf(`carrier ${index}`, { capture: () => 'x'.repeat(length) }),
        ),
      ).capture();
    expect(() => two([8_192, 8_193])).toThrow('The context of "carrier 1"');
    expect(() => two([8_192, 8_192])).not.toThrow();
  });

  it('is sealed by the codecs, and stands as it is where these leave it', () => {
    const odd: PayloadCodec = {
      name: 'odd',
      encode: (text) => (text === 'plain' ? undefined : { text: text.toUpperCase() }),
      decode: ({ text }) => text.toLowerCase(),
    };
    const sealing = (user: string) => {
      const carriers = new ContextCarriers(new SerializerSet({ codecs: [odd] }));
      carriers.add(carrierOf('user', { capture: () => user }));
      return carriers;
    };
    expect(sealing('plain').capture()).toEqual({ user: 'plain' });
    const context = sealing('ada').capture();
    expect(context).toEqual({ user: { text: 'ADA', format: 'text+odd' } });
    const read = sealing('ada').restore('order-7', context, () => around.getStore());
    return expect(read).resolves.toBe('user=ada;');
  });
});

describe('What is restored', () => {
  it('lies around the work, the first carrier outermost', async () => {
    const carriers = carriersOf(carrierOf('a'), carrierOf('b'));
    const context = { b: '2', a: '1' };
    expect(await restored(carriers, context, () => around.getStore())).toBe('a=1;b=2;');
  });

  it('is what there is a carrier and a value for', async () => {
    const carriers = carriersOf(carrierOf('a'), carrierOf('b'));
    const context = { b: '2', of_nobody: '3' };
    expect(await restored(carriers, context, () => around.getStore())).toBe('b=2;');
  });

  it('costs nothing where there is none', () => {
    expect(carriersOf(carrierOf('a')).restore('order-7', undefined, () => 'at once')).toBe(
      'at once',
    );
    expect(restored(carriersOf(), { a: '1' }, () => 'at once')).toBe('at once');
  });

  it('gives what the work gives, whatever the carrier makes of it', async () => {
    const odd = carrierOf('a', { run: (_, work) => (void work(), 'mine' as never) });
    expect(await restored(carriersOf(odd), { a: '1' }, () => 'of the work')).toBe('of the work');
  });

  it('runs the work once, however often the carrier calls it', async () => {
    let runs = 0;
    const twice = carrierOf('a', { run: (_, work) => (void work(), work()) });
    await restored(carriersOf(twice), { a: '1' }, () => (runs += 1));
    expect(runs).toBe(1);
  });

  it('leaves the error of the work as it is, be it thrown at once', async () => {
    await expect(restored(carriersOf(carrierOf('a')), { a: '1' }, fail)).rejects.toThrow(
      /^no way$/,
    );
  });

  it.each<[string, ContextCarrier['run'], string]>([
    ['throws', fail, 'no way'],
    ['does not call the work', () => undefined as never, 'without having called the work'],
    ['throws after it', (_, work) => (void work(), fail()), 'no way'],
  ])('is an error that names the carrier when it %s', async (_what, run, reason) => {
    const carriers = carriersOf(carrierOf('outer'), carrierOf('inner', { run }));
    const context = { outer: '1', inner: '2' };
    const work = async () => restored(carriers, context, () => Promise.reject(new Error('lost')));
    await expect(work()).rejects.toMatchObject({
      code: 'DBOS_CONTEXT_RESTORE',
      carrier: 'inner',
      workflowId: 'order-7',
      message: expect.stringContaining(reason) as string,
    });
  });

  it('leaves no rejection of a promise behind that a carrier made of its own', async () => {
    const own = carrierOf('a', {
      run: (_, work) => (void work(), Promise.reject(new Error('mine'))) as never,
    });
    const unhandled: unknown[] = [];
    const hear = (error: unknown): void => void unhandled.push(error);
    process.on('unhandledRejection', hear);
    expect(await restored(carriersOf(own), { a: '1' }, () => 'done')).toBe('done');
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    process.off('unhandledRejection', hear);
    expect(unhandled).toEqual([]);
  });
});
