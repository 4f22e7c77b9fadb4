/** The queue on which orders wait to be packed, and what holds them back there: in all processes together. */
import { DbosModule } from 'nestjs-dbos';

export const FULFILMENT_QUEUE = 'fulfilment';

export const FulfilmentQueue = DbosModule.registerQueue({
  name: FULFILMENT_QUEUE,
  // So many people pack, wherever there is work,
  concurrency: 5,
  // and a partition is a warehouse:
  partition: {
    // it has so many tables to pack on,
    concurrency: 3,
    // and its carrier takes no more parcels than that.
    rateLimit: { limit: 10, periodMs: 5_000 },
  },
});

/** Customers choose the ids of their orders, and with them those of the checkouts; no order id has a colon. */
export function fulfilmentIdOf(orderId: string): string {
  return `${FULFILMENT_QUEUE}:${orderId}`;
}
