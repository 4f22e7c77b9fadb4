/** From which warehouse an order is sent. */

/** A line of an order, as far as it matters here. */
export interface KeptPieces {
  readonly warehouse: string;
  readonly quantity: number;
}

/**
 * The one that keeps most of the pieces, of several the first by name; the others bring theirs there.
 * @param lines at least one
 */
export function warehouseOf(lines: readonly KeptPieces[]): string {
  const pieces = new Map<string, number>();
  const piecesIn = (warehouse: string): number => pieces.get(warehouse) ?? 0;
  for (const { warehouse, quantity } of lines)
    pieces.set(warehouse, piecesIn(warehouse) + quantity);
  return [...pieces.keys()]
    .sort()
    .reduce((best, next) => (piecesIn(next) > piecesIn(best) ? next : best));
}
