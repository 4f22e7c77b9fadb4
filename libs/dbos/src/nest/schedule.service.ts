/** Schedules at run time: what starts workflows by the clock, made and managed from any process. */
import { Injectable, type Type } from '@nestjs/common';
import { InvalidArgumentError, RegistrationError } from '../core/errors.js';
import { Engine } from '../engine/engine.js';
import type { WorkflowHandle } from '../engine/handle.js';
import type { ScheduleChanges } from '../engine/schedule-changes.js';
import type { ScheduleSpec } from '../engine/schedule-definition.js';
import type { ScheduleReport } from '../engine/schedule-report.js';
import type { AppliedSchedules, ScheduleListOptions } from '../engine/schedules.js';
import { markedMethods } from './marked-methods.js';
import { givenList, givenOptions } from '../core/given.js';
import { shown } from '../core/shown.js';

/** A class with one workflow, or the name of a workflow (`Class.method`). It must be registered here. */
export type ScheduledWorkflow = Type | string;

export interface NewSchedule extends Omit<ScheduleSpec, 'workflow'> {
  readonly workflow: ScheduledWorkflow;
}

export interface ScheduleUpdate extends Omit<ScheduleChanges, 'workflow'> {
  readonly workflow?: ScheduledWorkflow;
}

/**
 * Usable once the application has bootstrapped. In a workflow every call is a recorded operation; in a step only `get`
 * and `list` are possible.
 *
 * All may throw EngineNotRunningError, DatabaseUnavailableError and InvalidArgumentError (for a name, say), and those
 * that change something ForbiddenInStepError.
 */
@Injectable()
export class ScheduleService {
  constructor(private readonly engine: Engine) {}

  /**
   * Makes a schedule, whose first tick is the first to come. One that is there already, with the very same settings, is
   * left as it is.
   *
   * @example
   * ```ts
   * await this.schedules.create({
   *   name: `report-${tenant.id}`, workflow: TenantReport, cron: '0 6 * * MON', timeZone: tenant.timeZone, input: tenant.id,
   * });
   * ```
   * @throws InvalidScheduleError with the position, for a cron expression or time zone that cannot be used
   * @throws ScheduleExistsError, WorkflowNotRegisteredError, UnserializableValueError
   */
  async create(schedule: NewSchedule): Promise<void> {
    return this.engine.schedules.create(specOf(schedule));
  }

  /**
   * Changes the given settings and leaves the others. With another cron expression or time zone the next tick is the
   * first to come; otherwise the ticks stay.
   * @throws InvalidArgumentError for one that is declared by `@Scheduled()`
   * @throws ScheduleNotFoundError, ScheduleChangedError, InvalidScheduleError, WorkflowNotRegisteredError
   */
  async update(name: string, update: ScheduleUpdate): Promise<void> {
    const { workflow, ...changes } = givenOptions('schedules.update()', update);
    const workflowName = workflow === undefined ? undefined : workflowNameOf(workflow);
    return this.engine.schedules.update(name, { ...changes, workflow: workflowName });
  }

  /**
   * Fires no more until it is resumed; what runs goes on. Ticks that come meanwhile are not made up for, whatever the
   * policy: `backfill` can.
   * @throws ScheduleNotFoundError
   */
  async pause(name: string): Promise<void> {
    return this.engine.schedules.pause(name);
  }

  /** Goes on with the first tick to come. @throws ScheduleNotFoundError */
  async resume(name: string): Promise<void> {
    return this.engine.schedules.resume(name);
  }

  /**
   * Starts the workflow of a schedule now, paused or not, under an id of its own and with the present as its tick. The
   * schedule stays as it is.
   * @throws ScheduleNotFoundError
   */
  async trigger<R = unknown>(name: string): Promise<WorkflowHandle<R>> {
    return this.engine.handle<R>(await this.engine.schedules.trigger(name));
  }

  /**
   * Starts a workflow for each tick of a period that has come and has none, by the present settings. Returns the ids of
   * all of them, also of those that were there; at most 10,000.
   * @param from inclusive
   * @param until exclusive
   * @throws InvalidArgumentError for a longer list; nothing was started then
   * @throws ScheduleNotFoundError
   */
  async backfill(name: string, from: Date, until: Date): Promise<string[]> {
    return this.engine.schedules.backfill(name, { from, until });
  }

  /**
   * Removes a schedule; its workflows stay. Returns whether there was one.
   * @throws InvalidArgumentError for one that is declared by `@Scheduled()`
   */
  async delete(name: string): Promise<boolean> {
    return this.engine.schedules.delete(name);
  }

  /**
   * Makes these the schedules of a set: new ones are made, changed ones updated, and those that are no longer in it are
   * deleted. Pauses stay, and so do the ticks of unchanged ones. At most 1,000.
   * @param set a name for what belongs together; schedules outside of the set are never touched
   * @throws ScheduleExistsError when a name belongs to a schedule outside of the set
   * @throws InvalidScheduleError, WorkflowNotRegisteredError, UnserializableValueError; nothing was written then
   */
  async applySet(set: string, schedules: readonly NewSchedule[]): Promise<AppliedSchedules> {
    return this.engine.schedules.applySet(
      set,
      Array.from(givenList('schedules', schedules), specOf),
    );
  }

  /** Undefined when there is none of this name. */
  async get(name: string): Promise<ScheduleReport | undefined> {
    return this.engine.schedules.get(name);
  }

  /** A page of schedules, in the order of their names, with their next runs. */
  async list(options: ScheduleListOptions = {}): Promise<ScheduleReport[]> {
    return this.engine.schedules.list(givenOptions('schedules.list()', options));
  }
}

function specOf(schedule: NewSchedule): ScheduleSpec {
  const { workflow } = givenOptions('A schedule', schedule);
  return { ...schedule, workflow: workflowNameOf(workflow) };
}

function workflowNameOf(workflow: ScheduledWorkflow): string {
  if (typeof workflow === 'string') return workflow;
  if (typeof workflow !== 'function')
    throw new InvalidArgumentError(
      `A schedule is of a class with a workflow, or of the name of one, not of ${shown(workflow)}.`,
    );
  const names = markedMethods({ token: workflow, metatype: workflow }, undefined).flatMap(
    ({ marks, place }) => (marks.workflow ? [marks.workflow.name ?? place] : []),
  );
  const [name] = names;
  if (name !== undefined && names.length === 1) return name;
  const choice = names.map((one) => `'${one}'`).join(', ');
  throw new RegistrationError(
    names.length === 0
      ? `${workflow.name} cannot be scheduled: it has no method that is marked with @Workflow().`
      : `${workflow.name} has several workflows. Schedule one of them by its name: ${choice}.`,
  );
}
