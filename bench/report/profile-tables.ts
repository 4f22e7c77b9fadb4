/** A profile as text: functions, places, statements. */
import type { StatementRow } from '../harness/server.js';
import type { SelfTime } from './self-times.js';

const FUNCTIONS = 30;
const PLACES = 20;
const QUERY_WIDTH = 110;

export function selfTimeTable(times: readonly SelfTime[]): string {
  const total = times.reduce((sum, { us }) => sum + us, 0);
  const places = new Map<string, number>();
  for (const { place, us } of times) places.set(place, (places.get(place) ?? 0) + us);
  const line = (us: number, text: string): string =>
    `${((us * 100) / total).toFixed(1).padStart(6)} % ${(us / 1_000).toFixed(1).padStart(8)} ms  ${text}`;
  const byPlace = [...places].sort(([, one], [, other]) => other - one);
  return [
    'Self time by function:',
    ...times.slice(0, FUNCTIONS).map(({ us, name, place }) => line(us, `${name}  ${place}`)),
    '',
    'Self time by package or file:',
    ...byPlace.slice(0, PLACES).map(([place, us]) => line(us, place)),
    '',
  ].join('\n');
}

export function statementTable(rows: readonly StatementRow[]): string {
  const cell = (value: number, digits = 0): string => value.toFixed(digits).padStart(9);
  return [
    'Statements, warm-up included:',
    '    calls     plans   plan µs   exec µs     WAL B    blocks',
    ...rows.map(
      ({ calls, plans, planUs, execUs, walBytes, blocks, query }) =>
        [
          cell(calls),
          cell(plans),
          cell(planUs),
          cell(execUs),
          cell(walBytes),
          cell(blocks, 1),
        ].join(' ') + `  ${query.replace(/\s+/g, ' ').trim().slice(0, QUERY_WIDTH)}`,
    ),
    '',
  ].join('\n');
}
