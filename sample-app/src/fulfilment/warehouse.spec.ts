// The sample's rule for where an order is sent from.
import { warehouseOf, type KeptPieces } from './warehouse.js';

const HAMBURG: KeptPieces = { warehouse: 'hamburg', quantity: 2 };
const KASSEL: KeptPieces = { warehouse: 'kassel', quantity: 3 };

describe('An order is sent from the warehouse', () => {
  it.each([
    ['that keeps all of it', [HAMBURG], 'hamburg'],
    ['that keeps most of its pieces', [HAMBURG, KASSEL], 'kassel'],
    ['that keeps most of its pieces in all lines together', [KASSEL, HAMBURG, HAMBURG], 'hamburg'],
    [
      'that comes first by name, when several keep as many',
      [KASSEL, HAMBURG, { ...HAMBURG, quantity: 1 }],
      'hamburg',
    ],
  ])('%s', (_what, lines, warehouse) => {
    expect(warehouseOf(lines)).toBe(warehouse);
  });
});
