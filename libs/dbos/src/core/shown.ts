/** Any value in a message: what it is, cut short, whatever happens when it is looked at. */

const MOST_CHARACTERS = 100;

export function shown(value: unknown): string {
  const text = textOf(value);
  return text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
}

function textOf(value: unknown): string {
  try {
    return String(value);
  } catch {
    return `an ${typeof value} that cannot be shown`;
  }
}
