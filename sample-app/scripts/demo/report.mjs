// What the demo shows in the end: for each order its steps, what the gateway saw of it, and its outcome.

/** The steps of a checkout, and how the table calls them. */
const CHECKOUT = {
  'OrdersService.open': 'open',
  'InventoryService.reserve': 'reserve',
  'PaymentService.charge': 'charge',
};

/** Those of its fulfilment. */
const FULFILMENT = {
  drawPackingTime: 'draw',
  'flow.sleep': 'sleep',
  'ShippingService.ship': 'ship',
};

/** One row for each order: the attempts of each step as recorded, then the gateway's own count. */
export function rowsOf(orders, charges) {
  return orders.map((order) => {
    const { calls, captures } = atGateway(order.id, charges);
    return {
      order: order.id,
      ...attemptsOf(CHECKOUT, order.steps),
      warehouse: order.fulfilment?.warehouse ?? '-',
      queued: queuedFor(order.fulfilment),
      ...attemptsOf(FULFILMENT, order.fulfilment?.steps ?? []),
      recovered: recoveredOf(order),
      calls,
      captures,
      outcome: order.receipt ? `shipped ${order.receipt.trackingCode}` : order.error.message,
    };
  });
}

/** What the story comes down to. */
export function summaryOf(orders, charges) {
  const captures = orders.map(({ id }) => atGateway(id, charges).captures);
  return {
    orders: orders.length,
    receipts: orders.filter(({ receipt }) => receipt).length,
    chargedTwice: captures.filter((count) => count > 1).length,
    notCharged: captures.filter((count) => count === 0).length,
  };
}

/** By order and not by key: a second charge under another key would count. */
function atGateway(orderId, charges) {
  const own = charges.filter((charge) => charge.orderId === orderId);
  const sum = (column) => own.reduce((total, charge) => total + charge[column], 0);
  return { calls: sum('calls'), captures: sum('captures') };
}

/** Which of an order's workflows went on in the second life of the server after they had begun in the first. */
function recoveredOf({ workflow, fulfilment }) {
  const parts = { checkout: workflow, fulfilment: fulfilment?.workflow };
  const recovered = Object.keys(parts).filter((part) => parts[part]?.recoveryAttempts > 0);
  return recovered.join(' and ') || 'no';
}

/** From the payment until the warehouse began to pack. */
function queuedFor(fulfilment) {
  if (!fulfilment?.workflow.startedAt) return '-';
  const { createdAt, startedAt } = fulfilment.workflow;
  return `${((Date.parse(startedAt) - Date.parse(createdAt)) / 1000).toFixed(1)} s`;
}

function attemptsOf(columns, steps) {
  const attempts = new Map(steps.map((step) => [step.name, step.attempts]));
  return Object.fromEntries(
    Object.entries(columns).map(([name, column]) => [column, attempts.get(name) ?? '-']),
  );
}
