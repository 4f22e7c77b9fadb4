// Types of the application that are stored and come back as themselves.
import { InvalidArgumentError } from '../errors.js';
import type { CustomType } from './custom-type.js';
import { SerializerSet } from './serializer.js';
import { createSuperjsonSerializer } from './superjson-serializer.js';

class Decimal {
  constructor(readonly text: string) {}
  toJSON(): string {
    return this.text;
  }
}

const decimal: CustomType<Decimal, string> = {
  name: 'Decimal',
  isType: (value) => value instanceof Decimal,
  serialize: (value) => value.text,
  deserialize: (text) => new Decimal(text),
};

class Money {
  constructor(
    readonly amount: Decimal,
    readonly at: Date,
  ) {}
}

const money: CustomType<Money, readonly [Decimal, Date]> = {
  name: 'Money',
  isType: (value) => value instanceof Money,
  serialize: ({ amount, at }) => [amount, at],
  deserialize: ([amount, at]) => new Money(amount, at),
};

const serializers = new SerializerSet({
  primary: createSuperjsonSerializer({ types: [decimal, money] }),
});

function roundTrip<T>(value: T): T {
  return serializers.decode(serializers.encode(value)) as T;
}

describe('A registered type', () => {
  it('B61: comes back as itself wherever it stands', () => {
    const order = {
      total: new Decimal('1.50'),
      lines: new Map([[new Decimal('1'), new Set([new Decimal('2')])]]),
    };
    expect(roundTrip(order)).toStrictEqual(order);
  });

  it('may be made of other registered types and of whatever else can be stored', () => {
    const price = new Money(new Decimal('9.99'), new Date(0));
    expect(roundTrip(price)).toStrictEqual(price);
  });

  it('stays one object where it was one object', () => {
    const price = new Decimal('1');
    const { from, to } = roundTrip({ from: price, to: price, other: new Decimal('1') });
    expect(from).toBe(to);
  });

  it('may be an error class, which then survives', () => {
    class CardDeclined extends Error {
      override readonly name = 'CardDeclined';
    }
    const primary = createSuperjsonSerializer({
      types: [
        {
          name: 'CardDeclined',
          isType: (value) => value instanceof CardDeclined,
          serialize: (error: CardDeclined) => error.message,
          deserialize: (message: string) => new CardDeclined(message),
        },
      ],
    });
    const set = new SerializerSet({ primary });
    expect(set.decode(set.encode(new CardDeclined('no')))).toBeInstanceOf(CardDeclined);
  });

  it('does not hide what it cannot store itself: the path goes through it', () => {
    const broken = new Money(new Decimal('1'), (() => 1) as unknown as Date);
    expect(() => serializers.encode({ price: broken }, 'order')).toThrow(
      /^order\.price\[1\] cannot be stored/,
    );
  });

  it.each<[string, (value: Decimal) => unknown]>([
    ['in an array', (value) => [value]],
    ['directly', (value) => value],
  ])('that contains itself, %s, is refused', (_, serialize) => {
    const set = new SerializerSet({
      primary: createSuperjsonSerializer({ types: [{ ...decimal, serialize }] }),
    });
    expect(() => set.encode(new Decimal('1'))).toThrow(/nested deeper than 1000 levels/);
  });

  it('that runs out of stack is refused', () => {
    const serialize = (): unknown => [serialize()];
    const set = new SerializerSet({
      primary: createSuperjsonSerializer({ types: [{ ...decimal, serialize }] }),
    });
    expect(() => set.encode(new Decimal('1'))).toThrow(
      expect.objectContaining({
        code: 'DBOS_UNSERIALIZABLE_VALUE',
        reason: 'it is nested too deeply',
      }),
    );
  });

  it('is not looked for among ordinary objects and arrays, which may be plain JSON data', () => {
    const isType = (): boolean => true;
    const set = new SerializerSet({
      primary: createSuperjsonSerializer({ types: [{ ...decimal, isType }] }),
    });
    expect(set.decode(set.encode([{ id: 1n }]))).toStrictEqual([{ id: 1n }]);
  });

  it('B62: that is not registered any more makes the value unreadable, with its name', () => {
    const stored = serializers.encode(new Decimal('1'));
    expect(() => new SerializerSet().decode(stored)).toThrow(
      /type "Decimal", which is not registered/,
    );
  });

  it('B62: that cannot read its data makes the value unreadable, with the reason as cause', () => {
    const why = new Error('bad digits');
    const failing = {
      ...decimal,
      deserialize: () => {
        throw why;
      },
    };
    const set = new SerializerSet({ primary: createSuperjsonSerializer({ types: [failing] }) });
    expect(() => set.decode(serializers.encode(new Decimal('1')))).toThrow(
      expect.objectContaining({ code: 'DBOS_UNDECODABLE_VALUE', cause: why }),
    );
  });

  it('needs a name of its own', () => {
    expect(() => createSuperjsonSerializer({ types: [decimal, decimal] })).toThrow(
      InvalidArgumentError,
    );
    expect(() => createSuperjsonSerializer({ types: [{ ...decimal, name: '' }] })).toThrow(
      InvalidArgumentError,
    );
  });

  it('may bear the name of a built-in one', () => {
    const set = new SerializerSet({
      primary: createSuperjsonSerializer({ types: [{ ...decimal, name: 'Buffer' }] }),
    });
    const value = [new Decimal('1'), Buffer.from('a')];
    expect(set.decode(set.encode(value))).toStrictEqual(value);
  });
});
