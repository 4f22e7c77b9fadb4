/** The gateway's books: a file to which every call and every decision is appended, read back at the start. */
import { randomUUID } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync, truncateSync } from 'node:fs';

/** What the gateway knows of one idempotency key. */
export interface Charge {
  readonly key: string;
  readonly orderId: string;
  readonly amountCents: number;
  /** How often the charge was asked for. */
  readonly calls: number;
  /** How often money was taken. Anything but 0 or 1 is a scandal. */
  readonly captures: number;
  readonly chargeId?: string;
  /** Why it was declined. */
  readonly declined?: string;
}

type Entry =
  | {
      readonly type: 'call';
      readonly key: string;
      readonly orderId: string;
      readonly amountCents: number;
    }
  | { readonly type: 'capture'; readonly key: string; readonly chargeId: string }
  | { readonly type: 'decline'; readonly key: string; readonly reason: string };

export class Ledger {
  private readonly byKey = new Map<string, Charge>();

  /** @param file kept over restarts; without one the books end with the process */
  constructor(private readonly file?: string) {
    if (file !== undefined && existsSync(file))
      entriesIn(file).forEach((entry) => this.enter(entry));
  }

  get charges(): Charge[] {
    return [...this.byKey.values()];
  }

  find(key: string): Charge | undefined {
    return this.byKey.get(key);
  }

  call(key: string, orderId: string, amountCents: number): Charge {
    return this.write({ type: 'call', key, orderId, amountCents });
  }

  capture(key: string): Charge {
    return this.write({ type: 'capture', key, chargeId: `ch_${randomUUID()}` });
  }

  decline(key: string, reason: string): Charge {
    return this.write({ type: 'decline', key, reason });
  }

  /** In the file first: what was answered is never forgotten. */
  private write(entry: Entry): Charge {
    if (this.file !== undefined) appendFileSync(this.file, `${JSON.stringify(entry)}\n`);
    return this.enter(entry);
  }

  private enter(entry: Entry): Charge {
    const charge = apply(this.byKey.get(entry.key), entry);
    this.byKey.set(entry.key, charge);
    return charge;
  }
}

function apply(known: Charge | undefined, entry: Entry): Charge {
  const { key } = entry;
  const charge = known ?? { key, orderId: '', amountCents: 0, calls: 0, captures: 0 };
  switch (entry.type) {
    case 'call': {
      const { orderId, amountCents } = entry;
      return { ...charge, orderId, amountCents, calls: charge.calls + 1 };
    }
    case 'capture':
      return { ...charge, chargeId: entry.chargeId, captures: charge.captures + 1 };
    case 'decline':
      return { ...charge, declined: entry.reason };
    default:
      return entry satisfies never;
  }
}

/** A process that was killed while it wrote may have left half a line, about which nobody was answered: cut it off. */
function entriesIn(file: string): Entry[] {
  const content = readFileSync(file);
  const whole = content.subarray(0, content.lastIndexOf('\n') + 1);
  if (whole.length < content.length) truncateSync(file, whole.length);
  const lines = whole.toString('utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Entry);
}
