// What anybody may hear on `node:diagnostics_channel` of what the engine does, and what a subscriber cannot break.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Injectable } from '@nestjs/common';
import {
  DbosModule,
  InjectQueue,
  Queue,
  Workflow,
  type CallEvent,
  type RunEvent,
  type StepEvent,
} from 'nestjs-dbos';
import { hear } from '../../libs/dbos/src/nest/telemetry/heard-events.js';
import { eventually } from '../support/eventually.js';
import { NestApps } from '../support/nest-app.js';
import { useScriptedApps } from '../support/scripted-app.js';

interface Heard extends Readonly<Record<string, unknown>> {
  readonly channel: string;
}

/** What comes by these channels until the end of the test. */
class Ears {
  readonly heard: Heard[] = [];
  readonly events: unknown[] = [];
  private readonly ends: Array<() => void> = [];

  listen(...channels: string[]): this {
    for (const channel of channels) {
      const listener = (message: unknown): void => {
        this.events.push(message);
        this.heard.push({ channel, ...(message as object) });
      };
      subscribe(`nestjs-dbos:${channel}`, listener);
      this.ends.push(() => unsubscribe(`nestjs-dbos:${channel}`, listener));
    }
    return this;
  }

  of(channel: string): Heard[] {
    return this.heard.filter((event) => event.channel === channel);
  }

  close(): void {
    for (const end of this.ends.splice(0)) end();
    this.heard.length = 0;
    this.events.length = 0;
  }
}

describe('The diagnostics channels', () => {
  const apps = useScriptedApps();
  const ears = new Ears();
  afterEach(() => ears.close());

  it('tell of a call, a run and its steps, in the order of what happens', async () => {
    const app = await apps.start();
    ears.listen(
      'call.start',
      'call.end',
      'workflow.start',
      'step.start',
      'step.end',
      'workflow.end',
    );

    const handle = await app.begin(({ flow }) => flow.step('charge', () => 1), 'told');
    await handle.result();

    await eventually(() => expect(ears.of('workflow.end')).toHaveLength(1));
    const order = ears.heard
      .map(({ channel }) => channel)
      .filter((channel) => channel !== 'call.end');
    expect(order).toEqual([
      'call.start',
      'workflow.start',
      'step.start',
      'step.end',
      'workflow.end',
    ]);
    expect(ears.of('call.end')).toMatchObject([
      { kind: 'start', name: 'Scripted', workflowId: 'told' },
    ]);
    expect(ears.of('step.end')).toMatchObject([
      {
        kind: 'step',
        name: 'charge',
        workflowId: 'told',
        workflowName: 'Scripted',
        stepId: '0',
        attempts: 1,
        outcome: 'succeeded',
        durationMs: expect.any(Number),
      },
    ]);
    expect(ears.of('workflow.end')).toMatchObject([{ epoch: 1, outcome: 'succeeded' }]);
  });

  it('give the same object at the beginning and at the end, for what a subscriber keeps', async () => {
    const app = await apps.start();
    ears.listen('workflow.start', 'workflow.end');

    await (await app.begin(() => 1)).result();

    await eventually(() => expect(ears.events).toHaveLength(2));
    expect(ears.events[1]).toBe(ears.events[0]);
  });

  it('tell with what a step failed, even when nothing was thrown at all', async () => {
    const app = await apps.start();
    ears.listen('step.end', 'workflow.end');
    const nothing: unknown = undefined;

    const handle = await app.begin(({ flow }) =>
      flow.step('charge', () => {
        throw nothing;
      }),
    );
    await handle.result().catch(() => undefined);

    await eventually(() => expect(ears.of('workflow.end')).toHaveLength(1));
    expect(ears.of('step.end')).toMatchObject([{ outcome: 'failed', error: expect.any(Error) }]);
    expect(ears.of('workflow.end')).toMatchObject([{ outcome: 'failed' }]);
  });

  it('let a subscriber run the body of a step within something of its own', async () => {
    const app = await apps.start();
    const inside: string[] = [];
    const listener = (message: unknown): void => {
      (message as StepEvent).around = (work) => {
        inside.push('before');
        try {
          return work();
        } finally {
          inside.push('after');
        }
      };
    };
    subscribe('nestjs-dbos:step.start', listener);

    const handle = await app.begin(({ flow }) =>
      flow.step('charge', () => void inside.push('body')),
    );
    await handle.result();
    unsubscribe('nestjs-dbos:step.start', listener);

    expect(inside).toEqual(['before', 'body', 'after']);
  });

  it('carry what a subscriber puts into a call to the run', async () => {
    const app = await apps.start();
    const listener = (message: unknown): void => {
      (message as CallEvent).carried['parcel'] = 'of the caller';
    };
    subscribe('nestjs-dbos:call.start', listener);
    ears.listen('workflow.start');

    await (await app.begin(() => 1)).result();
    unsubscribe('nestjs-dbos:call.start', listener);

    expect(ears.of('workflow.start')).toMatchObject([{ carried: { parcel: 'of the caller' } }]);
  });

  it('tell of replays, and of no step that was replayed', async () => {
    const workflowId = await apps.runUntilDeath(async ({ flow, die }) => {
      await flow.step('charge', () => 1);
      await die();
    });
    ears.listen('step.replay', 'step.start', 'workflow.recovery');

    const app = await apps.start({
      [workflowId]: async ({ flow, die }) => {
        await flow.step('charge', () => 1);
        await die();
      },
    });
    await app.workflows.handle(workflowId).result();

    expect(ears.of('step.replay')).toMatchObject([{ name: 'charge', stepId: '0', workflowId }]);
    expect(ears.of('step.start').map(({ name }) => name)).toEqual(['die']);
    expect(ears.of('workflow.recovery')).toMatchObject([
      { workflows: [{ id: workflowId, name: 'Scripted' }] },
    ]);
  });

  it('a subscriber of ours that throws neither ends the process nor the workflow', async () => {
    const app = await apps.start();
    let engineId = '';
    const listener = (message: unknown): void => void (engineId = (message as RunEvent).engineId);
    subscribe('nestjs-dbos:workflow.start', listener);
    await (await app.begin(() => 1)).result();
    unsubscribe('nestjs-dbos:workflow.start', listener);
    const errors: unknown[] = [];
    const fault = new Error('a defect');
    const end = hear(
      engineId,
      {
        'step.start': () => {
          throw fault;
        },
      },
      (error) => errors.push(error),
    );

    const result = await (await app.begin(({ flow }) => flow.step('charge', () => 1))).result();
    end();

    expect(result).toBe(1);
    expect(errors).toEqual([fault]);
  });
});

@Injectable()
class Packing {
  @Workflow()
  async pack(): Promise<void> {}
}

@Injectable()
class Shipping {
  constructor(@InjectQueue('parcels') readonly queue: Queue) {}
}

describe('The diagnostics channels of queues', () => {
  let apps: NestApps;
  const ears = new Ears();

  beforeAll(async () => {
    apps = await NestApps.open();
  });

  afterEach(async () => {
    ears.close();
    await apps.endAll();
  });

  afterAll(() => apps.close());

  it('tell of each enqueuing, and of many at once as one call', async () => {
    const after = [DbosModule.registerQueue({ name: 'parcels' })];
    const { app } = await apps.start([Packing, Shipping], { after });
    const { queue } = app.get(Shipping);
    ears.listen('call.end', 'workflow.end');

    await queue.enqueue(Packing).pack();
    await queue.enqueueMany(Packing).pack([{ args: [] }, { args: [] }]);

    await eventually(() => expect(ears.of('workflow.end')).toHaveLength(3));
    expect(ears.of('call.end')).toMatchObject([
      { kind: 'enqueue', name: 'Packing.pack', queue: 'parcels', count: 1 },
      { kind: 'enqueue', name: 'Packing.pack', queue: 'parcels', count: 2 },
    ]);
    expect(ears.of('workflow.end').map(({ queue: name }) => name)).toEqual([
      'parcels',
      'parcels',
      'parcels',
    ]);
  });
});
