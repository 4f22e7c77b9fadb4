// What the demo shows in the end: for each order its steps, what the gateway saw of it, and its outcome.

/** The steps of a checkout, and how the table calls them. */
const STEPS = {
  'OrdersService.open': 'open',
  'InventoryService.reserve': 'reserve',
  'PaymentService.charge': 'charge',
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
      ...attemptsOf(order.steps),
      recovered: order.workflow.recoveryAttempts > 0 ? 'yes' : 'no',
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

function attemptsOf(steps) {
  const attempts = new Map(steps.map((step) => [step.name, step.attempts]));
  return Object.fromEntries(
    Object.entries(STEPS).map(([name, column]) => [column, attempts.get(name) ?? '-']),
  );
}
