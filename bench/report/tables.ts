/** The summary as Markdown. */
import type { ContestantSummary, ScenarioSummary } from './summary.js';
import type { Unit } from '../harness/scenario.js';

export function tablesOf(summaries: readonly ScenarioSummary[]): string {
  return [ratioTable(summaries), ...summaries.map(scenarioTable)].join('\n');
}

/** A line a scenario, a column a contestant: how many times better than the reference. */
function ratioTable(summaries: readonly ScenarioSummary[]): string {
  const names = [
    ...new Set(summaries.flatMap(({ contestants }) => contestants.map(({ name }) => name))),
  ];
  const rows = summaries.map(({ key, title, goal, contestants }) => [
    `${key} ${title}`,
    goal,
    ...names.map((name) => ratioCell(contestants.find((contestant) => contestant.name === name))),
  ]);
  return `## Times better than dbos\n\n${table(['', 'goal of ours', ...names], rows)}`;
}

function scenarioTable({ key, title, unit, operation, contestants }: ScenarioSummary): string {
  const head = [
    '',
    unit,
    'min – max',
    '× dbos',
    'p50 ms',
    'statements',
    'WAL B',
    'node µs',
    'PostgreSQL µs',
    '',
  ];
  const rows = contestants.map((contestant) => {
    const { name, value, min, max, p50Ms, cost } = contestant;
    return [
      name,
      valueCell(value, unit),
      `${valueCell(min, unit)} – ${valueCell(max, unit)}`,
      ratioCell(contestant),
      number(p50Ms, 2),
      number(cost?.statements, 2),
      number(cost?.walBytes, 0),
      number(cost?.nodeCpuUs, 0),
      number(cost?.postgresCpuUs, 0),
      remarks(contestant),
    ];
  });
  return `## ${key}: ${title}\n\nCosts are for one ${operation}.\n\n${table(head, rows)}`;
}

function remarks({ also, failures, runs }: ContestantSummary): string {
  const figures = Object.entries(also).map(([name, value]) => `${name} ${number(value, 1)}`);
  const failed =
    failures.length > 0 ? [`failed ${failures.length} of ${runs + failures.length}`] : [];
  return [...figures, ...failed].join(', ');
}

function ratioCell(contestant: ContestantSummary | undefined): string {
  const ratio = contestant?.ratio;
  return number(ratio, ratio !== undefined && ratio < 10 ? 2 : 1);
}

function valueCell(value: number, unit: Unit): string {
  if (unit === 'ms' && value < 10) return number(value, 2);
  return number(value, unit !== 'B' && value < 100 ? 1 : 0);
}

function number(value: number | undefined, digits: number): string {
  if (value === undefined || !Number.isFinite(value)) return '–';
  return value.toLocaleString('en-GB', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

function table(head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, index) => (index === 0 ? '---' : '--:'));
  return `${[head, rule, ...rows].map(line).join('\n')}\n`;
}
