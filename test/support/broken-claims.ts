// The functions that claim, each broken in one place, to see that somebody notices.
import type { Ledger } from './ledger.js';
import type { Promised } from './queue-checker.js';

interface Break {
  readonly function: string;
  /** Text of its definition, and what it becomes; every occurrence. */
  readonly replace: readonly (readonly [string, string])[];
}

export interface BrokenClaim {
  readonly name: string;
  readonly breaks: readonly Break[];
  /** The promise that is broken by it. */
  readonly promise: Promised;
}

export const BROKEN_CLAIMS: readonly BrokenClaim[] = [
  {
    name: 'takes no turn',
    breaks: [
      {
        function: 'dbos.take_turn_soon',
        replace: [['PERFORM dbos.take_turn(queue, exclusively);', '']],
      },
    ],
    promise: 'concurrency',
  },
  {
    name: 'counts before it takes its turn',
    breaks: [
      {
        function: 'dbos.claim_workflows',
        replace: [
          ['IF NOT dbos.take_turn_soon(line.name, line.shares_limits) THEN', 'IF false THEN'],
          [
            'IF free > cardinality(chosen) THEN',
            'PERFORM dbos.take_turn(line.queue, true); IF free > cardinality(chosen) THEN',
          ],
        ],
      },
    ],
    promise: 'concurrency',
  },
  {
    name: 'ignores limits of partitions',
    breaks: [
      {
        function: 'dbos.choose_of_partitions',
        replace: [['settings.partition_concurrency IS NOT NULL', 'false']],
      },
    ],
    promise: 'partition concurrency',
  },
  {
    name: 'ignores pauses',
    breaks: [
      {
        function: 'dbos.claim_workflows',
        replace: [
          ['NOT q.paused', 'true'],
          ['settings.name IS NULL OR settings.paused', 'settings.name IS NULL'],
        ],
      },
    ],
    promise: 'pause',
  },
  {
    name: 'goes by the moment of insertion',
    breaks: [
      {
        function: 'dbos.choose_of_lane',
        replace: [['ORDER BY w.priority, w.seq', 'ORDER BY w.priority, w.created_at, w.id']],
      },
    ],
    promise: 'order',
  },
  {
    name: 'goes by the moment of insertion in partitions',
    breaks: [
      {
        function: 'dbos.choose_of_partitions',
        replace: [['ORDER BY w.priority, w.seq', 'ORDER BY w.priority, w.created_at, w.id']],
      },
    ],
    promise: 'order',
  },
  {
    name: 'ignores priorities',
    breaks: [
      {
        function: 'dbos.choose_of_lane',
        replace: [['ORDER BY w.priority, w.seq', 'ORDER BY w.seq']],
      },
    ],
    promise: 'order',
  },
  {
    name: 'keeps half of each window',
    breaks: [
      {
        function: 'dbos.claim_workflows',
        replace: [
          ['moment - settings.rate_period_ms * ', 'moment - settings.rate_period_ms / 2 * '],
        ],
      },
    ],
    promise: 'rate',
  },
  {
    name: 'keeps half of each window of partitions',
    breaks: [
      {
        function: 'dbos.choose_of_partitions',
        replace: [
          [
            'moment - settings.partition_rate_period_ms * ',
            'moment - settings.partition_rate_period_ms / 2 * ',
          ],
        ],
      },
    ],
    promise: 'rate',
  },
  {
    name: 'lets a process have more than its share',
    breaks: [
      {
        function: 'dbos.claim_workflows',
        replace: [
          ['settings.worker_concurrency - line.running', 'settings.worker_concurrency + 1'],
        ],
      },
    ],
    promise: 'workerConcurrency',
  },
];

/** Breaks the functions of this database; resolves with what makes them whole again. */
export async function breakClaims(
  ledger: Ledger,
  { breaks, name }: BrokenClaim,
): Promise<() => Promise<void>> {
  const whole: string[] = [];
  for (const { function: broken, replace } of breaks) {
    const [row] = await ledger.query<{ definition: string }>(
      `SELECT pg_get_functiondef(oid) AS definition FROM pg_proc
        WHERE pronamespace = 'dbos'::regnamespace AND 'dbos.' || proname = $1
        ORDER BY pronargs DESC LIMIT 1`, // what takes more is the newer
      [broken],
    );
    whole.push(row!.definition);
    await ledger.query(replace.reduce((text, each) => replaced(text, each, name), row!.definition));
  }
  return async () => {
    for (const definition of whole) await ledger.query(definition);
  };
}

function replaced(text: string, [from, to]: readonly [string, string], name: string): string {
  if (!text.includes(from)) throw new Error(`"${name}": there is no "${from}" any more.`);
  return text.replaceAll(from, to);
}
