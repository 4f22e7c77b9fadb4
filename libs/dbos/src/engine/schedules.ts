/** Schedules at run time: made, changed, paused, triggered and looked at, from any process. */
import { EngineNotRunningError, InvalidArgumentError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import {
  ScheduleChangedError,
  ScheduleExistsError,
  ScheduleNotFoundError,
} from '../core/schedule-errors.js';
import { Timetable } from '../core/schedule-timetable.js';
import type { Notifier } from '../repository/notifier.js';
import type { NewSchedule, ScheduleRecord } from '../repository/schedule-repository.js';
import { DeclaredSchedules, type DeclaredSchedulesParts } from './declared-schedules.js';
import { operation, type OperationSurroundings } from './operation.js';
import { changedDefinition, type ScheduleChanges } from './schedule-changes.js';
import {
  assertScheduleName,
  assertScheduleQueue,
  defineSchedule,
  newSchedule,
  type DefinedSchedule,
  type ScheduleSpec,
} from './schedule-definition.js';
import { scheduleReport, type ScheduleReport } from './schedule-report.js';
import { isSameDefinition, withStandingInputs } from './schedule-standing.js';
import { ScheduleRuns, type Period } from './schedule-runs.js';
import { Scheduler, type SchedulerParts } from './scheduler.js';
import { shown } from '../core/shown.js';

export interface SchedulesParts
  extends SchedulerParts, DeclaredSchedulesParts, OperationSurroundings {
  readonly notifier: Notifier;
}

export interface ScheduleListOptions {
  /** How many coming ticks to report of each. Default 5, at most 100. */
  readonly nextRuns?: number;
  /** Only schedules whose names come after this one: the last one of the page before. Default: from the first. */
  readonly after?: string;
  /** Most schedules to return. Default 1,000, which is also the most. */
  readonly limit?: number;
}

export interface AppliedSchedules {
  /** Names of the schedules that were in the set before and are no more. */
  readonly deleted: readonly string[];
}

interface FoundSchedule {
  readonly schedule: ScheduleRecord;
  readonly databaseNow: Date;
}

const DEFAULT_NEXT_RUNS = 5;
const MAX_NEXT_RUNS = 100;
/** Most schedules of a page, and of a set. */
const MAX_SCHEDULES = 1_000;
/** How often a change is tried when others change the same schedule at the same time. */
const MAX_ATTEMPTS = 5;

export class Schedules {
  readonly declared: DeclaredSchedules;
  readonly scheduler: Scheduler;
  private readonly runs: ScheduleRuns;
  private isOpen = false;

  constructor(private readonly parts: SchedulesParts) {
    this.scheduler = new Scheduler(parts);
    this.declared = new DeclaredSchedules(parts);
    this.runs = new ScheduleRuns(parts);
    parts.notifier.subscribe('schedule', () => this.scheduler.wake());
  }

  /** Writes the declared ones; from then on schedules can be changed. */
  async launch(): Promise<void> {
    await this.declared.write();
    this.isOpen = true;
  }

  /** Makes a schedule. Again with the same settings it changes nothing. @throws ScheduleExistsError */
  async create(spec: ScheduleSpec): Promise<void> {
    const defined = this.define(spec);
    return this.change('schedules.create', async () => {
      const schedule = newSchedule(defined, await this.databaseNow());
      const isNew = await this.parts.repository.schedules.create(schedule);
      if (!isNew) await this.assertSame(schedule);
    });
  }

  /** Changes some settings. A new timetable begins now; another setting leaves the ticks as they are. */
  async update(name: string, changes: ScheduleChanges): Promise<void> {
    this.declared.assertNotDeclared(assertScheduleName(name));
    const { registry, queues, codec } = this.parts;
    if (changes.workflow !== undefined) registry.newest(changes.workflow);
    assertScheduleQueue(queues, changes.queue);
    const change = changedDefinition(name, changes, codec.serializers);
    return this.change('schedules.update', () =>
      this.revise(name, ({ schedule, databaseNow }) => {
        const { definition, timetable } = change(schedule.definition);
        const nextTickAt = timetable.next(databaseNow);
        const { revision } = schedule;
        return this.parts.repository.schedules.change({ name, definition, nextTickAt, revision });
      }),
    );
  }

  /** Ticks that come during a pause are not missed ones: nothing makes up for them but a backfill. */
  async pause(name: string): Promise<void> {
    assertScheduleName(name);
    return this.change('schedules.pause', async () => {
      const isThere = await this.parts.repository.schedules.pause(name);
      if (!isThere) throw new ScheduleNotFoundError(name);
    });
  }

  /** Goes on with the first tick that is still to come. */
  async resume(name: string): Promise<void> {
    assertScheduleName(name);
    return this.change('schedules.resume', () =>
      this.revise(name, async ({ schedule, databaseNow }) => {
        const { paused, retiredAt, revision, definition } = schedule;
        if (retiredAt) {
          throw new InvalidArgumentError(
            `Schedule "${name}" cannot be resumed: the code declares it no more. Declare it again, or create another.`,
          );
        }
        if (!paused) return true;
        const nextTickAt = Timetable.of(definition.cron, definition.timeZone).next(databaseNow);
        return this.parts.repository.schedules.resume({ name, revision, nextTickAt });
      }),
    );
  }

  /** Starts the workflow of a schedule now, paused or not. Returns its id, which is no tick's. */
  async trigger(name: string): Promise<string> {
    assertScheduleName(name);
    const runId = this.parts.scopes.current?.run.id;
    return this.change('schedules.trigger', (stepId) =>
      this.runs.trigger(name, stepId === undefined ? undefined : `${runId} ${stepId}`),
    );
  }

  /** Makes up for the ticks of a period that have come, but for those that have their workflow. Returns all their ids. */
  async backfill(name: string, period: Period): Promise<string[]> {
    assertScheduleName(name);
    assertPeriod(period);
    return this.change('schedules.backfill', () => this.runs.backfill(name, period));
  }

  /** Its workflows stay. @returns whether there was one */
  async delete(name: string): Promise<boolean> {
    this.declared.assertNotDeclared(assertScheduleName(name));
    return this.change('schedules.delete', () => this.parts.repository.schedules.delete(name));
  }

  /** Makes these, and no others, the schedules of a set. @throws ScheduleExistsError */
  async applySet(set: string, specs: readonly ScheduleSpec[]): Promise<AppliedSchedules> {
    assertIdentifier('A set of schedules', set);
    const defined = specs.map((spec) => this.define(spec));
    assertSet(set, defined);
    return this.change('schedules.applySet', async () => {
      const databaseNow = await this.databaseNow();
      const given = defined.map((one) => newSchedule(one, databaseNow));
      const schedules = await withStandingInputs(given, this.parts);
      const { taken, deleted } = await this.parts.repository.schedules.applySet(set, schedules);
      if (taken[0] !== undefined) throw new ScheduleExistsError(taken[0], `not of set "${set}"`);
      return { deleted };
    });
  }

  async get(name: string): Promise<ScheduleReport | undefined> {
    assertScheduleName(name);
    const { repository, codec } = this.parts;
    return this.read('schedules.get', async () => {
      const found = await repository.schedules.find(name);
      return found && scheduleReport(found.schedule, DEFAULT_NEXT_RUNS, codec.serializers);
    });
  }

  /** In the order of their names. */
  async list(options: ScheduleListOptions = {}): Promise<ScheduleReport[]> {
    const { after = '', limit = MAX_SCHEDULES, nextRuns = DEFAULT_NEXT_RUNS } = options;
    if (after !== '') assertScheduleName(after);
    assertCount('limit', limit, { min: 1, max: MAX_SCHEDULES });
    assertCount('nextRuns', nextRuns, { min: 0, max: MAX_NEXT_RUNS });
    const { repository, codec } = this.parts;
    return this.read('schedules.list', async () => {
      const records = await repository.schedules.list({ after, limit });
      return records.map((record) => scheduleReport(record, nextRuns, codec.serializers));
    });
  }

  private define(spec: ScheduleSpec): DefinedSchedule {
    const defined = defineSchedule(spec, this.parts.codec.serializers);
    const { registry, queues } = this.parts;
    registry.newest(spec.workflow);
    assertScheduleQueue(queues, spec.queue);
    return defined;
  }

  private databaseNow(): Promise<Date> {
    return this.parts.repository.executors.databaseNow();
  }

  /** A creation whose answer was lost is repeated, and finds what it has made. */
  private async assertSame({ name, definition }: NewSchedule): Promise<void> {
    const { schedule } = await this.find(name);
    const { declared, setName } = schedule;
    if (declared || setName !== null) throw new ScheduleExistsError(name, ownerOf(schedule));
    if (!isSameDefinition(definition, schedule.definition, this.parts.codec))
      throw new ScheduleExistsError(name, 'with other settings');
  }

  private async find(name: string): Promise<FoundSchedule> {
    const found = await this.parts.repository.schedules.find(name);
    if (!found) throw new ScheduleNotFoundError(name);
    return found;
  }

  /** Reads, decides and writes; again when somebody else has written in between. */
  private async revise(
    name: string,
    write: (found: FoundSchedule) => Promise<boolean>,
  ): Promise<void> {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1)
      if (await write(await this.find(name))) return;
    throw new ScheduleChangedError(name);
  }

  private change<T>(name: string, work: (stepId?: string) => Promise<T>): Promise<T> {
    this.parts.scopes.outsideSteps(name);
    return this.read(name, async (stepId) => {
      const result = await work(stepId);
      this.scheduler.wake();
      this.parts.notifier.notify('schedule');
      return result;
    });
  }

  private read<T>(name: string, work: (stepId?: string) => Promise<T>): Promise<T> {
    if (this.isOpen) return operation(this.parts, name, work);
    throw new EngineNotRunningError(
      'Schedules cannot be used yet: the engine is not launched. Use them after the bootstrap of the application; what ' +
        'should be there from the start can be declared with @Scheduled().',
    );
  }
}

function ownerOf({ declared, setName }: ScheduleRecord): string {
  return declared ? 'declared in the code' : `of set "${setName}"`;
}

function assertSet(set: string, defined: readonly DefinedSchedule[]): void {
  if (defined.length > MAX_SCHEDULES) {
    throw new InvalidArgumentError(
      `Set "${set}" has ${defined.length} schedules. Use at most ${MAX_SCHEDULES}.`,
    );
  }
  const names = new Set<string>();
  for (const { name } of defined) {
    if (names.has(name)) throw new InvalidArgumentError(`Set "${set}" has "${name}" twice.`);
    names.add(name);
  }
}

function assertPeriod({ from, until }: Period): void {
  // An invalid date is neither before nor after anything.
  if (from instanceof Date && until instanceof Date && from.getTime() >= 0 && until >= from) return;
  throw new InvalidArgumentError('A period goes from a date since 1970 until the same or later.');
}

function assertCount(
  option: string,
  value: number,
  { min, max }: { readonly min: number; readonly max: number },
): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new InvalidArgumentError(
    `${option} must be a whole number from ${min} to ${max}, not ${shown(value)}.`,
  );
}
