// One run of a scenario: work and faults for a while, then quiet, then the reckoning.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { migrateDatabase } from '../../libs/dbos/src/prisma/migrate-database.js';
import { Ledger } from '../support/ledger.js';
import { violationsOf as queueViolationsOf } from '../support/queue-checker.js';
import { installQueueLog, readQueueLog } from '../support/queue-log.js';
import { randomFrom } from '../support/random.js';
import { violationsOf, type Row, type Violation } from './chaos-checker.js';
import type { ChaosServer } from './chaos-server.js';
import { installFenceWitness, readFenceViolations } from './fence-witness.js';
import { FAULTS, type FaultName } from './faults.js';
import { Fleet } from './fleet.js';
import { machineTime, readMarks } from './marks.js';
import type { Scenario } from './scenarios.js';
import { Workload, type WorkKind } from './workload.js';

export interface RunSettings {
  readonly name: string;
  readonly scenario: Scenario;
  readonly seed: number;
  readonly seconds: number;
  readonly server: ChaosServer;
}

export interface RunReport {
  readonly workflows: number;
  readonly bodies: number;
  readonly processes: number;
  readonly lostAnswers: number;
  readonly faults: ReadonlyMap<FaultName, number>;
  readonly violations: readonly Violation[];
  /** What the processes wrote, for the search of a cause. */
  readonly logs: readonly string[];
}

const LEASE_MS = 1_500;
const WORK_EVERY_MS = 400;
/** After the last fault everything must come to its end by itself within this time. */
const QUIET_MS = 60_000;
const PROBES = 10;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function runScenario(settings: RunSettings): Promise<RunReport> {
  const { name, scenario, seed, server } = settings;
  const database = `${name}_${seed}_${process.pid}`;
  await server.createDatabase(database);
  const url = server.url(database);
  await migrateDatabase(url);
  await prepare(url);
  const directory = await mkdtemp(join(tmpdir(), 'dbos-chaos-marks-'));
  const fleet = await Fleet.start({
    url,
    directory,
    size: scenario.processes ?? 3,
    pool: scenario.pool ?? 5,
    leaseMs: LEASE_MS,
    schedules: scenario.schedules ?? true,
    endsByItself: scenario.work.includes('poison'),
  });
  try {
    return await new ScenarioRun(settings, fleet, { url, database, directory }).go();
  } finally {
    await fleet.close();
    await rm(directory, { recursive: true, force: true });
  }
}

async function prepare(url: string): Promise<void> {
  const ledger = await Ledger.open(url);
  await ledger.query(
    'CREATE TABLE public.chaos_rows (workflow text NOT NULL, step integer NOT NULL)',
  );
  await installQueueLog(ledger);
  await installFenceWitness(ledger);
  await ledger.close();
}

class ScenarioRun {
  private readonly random: () => number;
  private readonly work: Workload;
  private readonly faults = new Map<FaultName, number>();
  private isOver = false;

  constructor(
    private readonly settings: RunSettings,
    private readonly fleet: Fleet,
    private readonly place: { url: string; database: string; directory: string },
  ) {
    this.random = randomFrom(settings.seed);
    this.work = new Workload(fleet, randomFrom(settings.seed + 1), settings.name);
  }

  async go(): Promise<RunReport> {
    await this.until(() => this.fleet.posts.every(({ process: one }) => one.isReady), QUIET_MS);
    const endsAt = machineTime() + this.settings.seconds * 1_000;
    const ordering = this.orderUntil(endsAt);
    const keeping = this.keepFleet();
    await this.breakUntil(endsAt);
    await ordering;
    this.fleet.proxies.forEach((proxy) => proxy.heal());
    this.work.giveUpAt = machineTime() + QUIET_MS / 2;
    const quiet = await this.comeToRest();
    this.isOver = true;
    await keeping;
    const { promised, accepted, refusals } = this.work;
    const [marks, facts] = [await readMarks(this.place.directory), await this.facts()];
    const lives = this.fleet.history;
    const violations: Violation[] = [
      ...violationsOf({ marks, lives, promised, accepted, leaseMs: LEASE_MS, ...facts }),
      ...facts.queue,
      ...facts.fence,
      ...refusals.map((what) => ({ promise: 'acceptance' as const, what })),
      ...quiet,
    ];
    return {
      workflows: facts.rows.length,
      bodies: marks.filter(({ kind }) => kind === 'begin').length,
      processes: lives.length,
      lostAnswers: this.fleet.proxies.reduce((sum, { dropped }) => sum + dropped, 0),
      faults: this.faults,
      violations,
      logs: this.fleet.lives.map(({ pid, log }) => `--- ${pid}\n${log}`),
    };
  }

  private async orderUntil(endsAt: number): Promise<void> {
    while (machineTime() < endsAt) {
      this.work.add(this.kinds());
      await pause(WORK_EVERY_MS);
    }
  }

  /** Poison is for a few: each costs three processes. */
  private kinds(): readonly WorkKind[] {
    const { work } = this.settings.scenario;
    return work.filter((kind) => kind !== 'poison' || (this.poisons += 1) <= 2);
  }

  private poisons = 0;

  /** One fault after the other; each has draws of its own, so that what came before does not change it. */
  private async breakUntil(endsAt: number): Promise<void> {
    const { faults } = this.settings.scenario;
    const { server } = this.settings;
    const stage = { fleet: this.fleet, server, leaseMs: LEASE_MS, ...this.place };
    while (machineTime() < endsAt) {
      await pause(200 + this.random() * 800);
      const fault = faults[Math.floor(this.random() * faults.length)];
      const draw = randomFrom(Math.floor(this.random() * 2 ** 31));
      if (fault === undefined) continue;
      this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1);
      await FAULTS[fault](stage, draw);
    }
  }

  /** As an orchestrator: who has ended is started anew. That he ended without being told to is for the checker. */
  private async keepFleet(): Promise<void> {
    while (!this.isOver) {
      this.fleet.replaceEnded();
      await pause(100);
    }
  }

  /** All that was ordered ends, and so does new work; nobody helps. */
  private async comeToRest(): Promise<Violation[]> {
    await this.work.settled();
    const isDone = async (): Promise<boolean> => (await this.unfinished()) === 0;
    const ended = await this.until(isDone, QUIET_MS);
    this.work.giveUpAt = machineTime() + QUIET_MS / 2;
    for (let probe = 0; probe < PROBES; probe += 1)
      this.work.chain(`${this.settings.name}-probe-${probe}`);
    await this.work.settled();
    const alive = await this.until(isDone, QUIET_MS / 2);
    return [
      ...(ended ? [] : [{ promise: 'liveness' as const, what: 'work did not come to its end' }]),
      ...(alive ? [] : [{ promise: 'liveness' as const, what: 'new work does not end' }]),
    ];
  }

  /** Ticks go on coming, so those of the last seconds may be unfinished at any moment. */
  private async unfinished(): Promise<number> {
    const rows = await this.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM dbos.workflows
        WHERE completed_at IS NULL AND status <> 'MAX_RECOVERY_ATTEMPTS_EXCEEDED'
          AND NOT (id LIKE 'sched-%' AND created_at > now() - interval '3 seconds')`,
    );
    return rows[0]?.count ?? -1;
  }

  private async facts() {
    const at = machineTime();
    const rows = await this.query<Row>(
      `SELECT id, name, status, output, error,
              (extract(epoch FROM completed_at) * 1000)::float8 AS "completedAt"
         FROM dbos.workflows
        WHERE NOT (id LIKE 'sched-%' AND status IN ('PENDING', 'ENQUEUED')
                   AND created_at > to_timestamp($1::float8 / 1000) - interval '3 seconds')`,
      [at],
    );
    const booked = await this.query<{ key: string; count: number }>(
      `SELECT workflow || ' ' || step AS key, count(*)::int AS count FROM public.chaos_rows GROUP BY 1`,
    );
    const actions = await this.query<{ id: string }>(
      `SELECT DISTINCT workflow_id AS id FROM dbos.workflow_actions WHERE action = 'resumed'`,
    );
    const ledger = await Ledger.open(this.place.url);
    const log = await readQueueLog(ledger);
    const fence = await readFenceViolations(ledger);
    await ledger.close();
    const none = { bodies: [], workflows: [], ends: this.ends(), cancelled: new Set<string>() };
    const queue = queueViolationsOf({ ...none, log, acknowledged: new Map() });
    return {
      rows,
      booked: new Map(booked.map(({ key, count }) => [key, count])),
      fence,
      resumed: new Set(actions.map(({ id }) => id)),
      queue: queue.map(({ promise, what }) => ({
        promise: 'limit' as const,
        what: `${promise}: ${what}`,
      })),
    };
  }

  private ends() {
    return this.fleet.history.flatMap(({ pid, endedAt }) =>
      endedAt === undefined ? [] : [{ pid, how: 'killed' as const, at: endedAt * 1_000 }],
    );
  }

  private async query<R extends pg.QueryResultRow>(
    sql: string,
    values: unknown[] = [],
  ): Promise<R[]> {
    const client = new pg.Client({ connectionString: this.place.url });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return (await client.query<R>(sql, values)).rows;
    } finally {
      await client.end();
    }
  }

  private async until(
    isSo: () => boolean | Promise<boolean>,
    patienceMs: number,
  ): Promise<boolean> {
    const giveUpAt = machineTime() + patienceMs;
    while (machineTime() < giveUpAt) {
      if (await isSo()) return true;
      await pause(50);
    }
    return false;
  }
}
