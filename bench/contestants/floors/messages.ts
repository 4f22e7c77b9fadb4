/** The smallest engine of messages and events that is still durable: who waits is told at once, others by NOTIFY. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import type {
  Herald,
  LaunchSettings,
  MessageContestant,
  MessageEngine,
} from '../../harness/contestant.js';
import { Tally } from '../../harness/tally.js';
import { Bell } from './bell.js';
import { MessageStore } from './message-store.js';
import { CONNECTION_OPTIONS, createTables } from './schema.js';
import { SingleStatements } from './single-statements.js';

const TIMEOUT_MS = 60_000;
/** Of a receiving: that of its deadline, and that of the message. */
const STEPS_OF_A_RECEIVING = 2;

export const floorMessages: MessageContestant = {
  launch: async (settings) => {
    const pool = new pg.Pool({ connectionString: settings.url, options: CONNECTION_OPTIONS });
    await createTables(pool);
    const engine = new FloorMessages(pool, settings);
    await engine.listen();
    return engine;
  },
};

class FloorMessages implements MessageEngine {
  private readonly store: SingleStatements;
  private readonly messages: MessageStore;
  private readonly bell: Bell;
  /** Of those who wait, by the workflow that they wait for: what may have come. */
  private readonly arrivals = new Map<string, Tally>();

  constructor(
    private readonly pool: pg.Pool,
    private readonly settings: LaunchSettings,
  ) {
    this.store = new SingleStatements(pool, settings.executorId);
    this.messages = new MessageStore(pool, settings.executorId);
    this.bell = new Bell(pool, settings.executorId);
  }

  async listen(): Promise<void> {
    await this.messages.createTables();
    await this.bell.listen(this.settings.url, () => {
      for (const arrivals of this.arrivals.values()) arrivals.add();
    });
  }

  async pingPong(rounds: number): Promise<void> {
    const [pingId, pongId] = [randomUUID(), randomUUID()];
    const input = JSON.stringify(rounds);
    await this.store.start({ id: pongId, name: 'pong', input });
    const answering = this.pong(pongId, pingId, rounds);
    await this.store.start({ id: pingId, name: 'ping', input });
    await Promise.all([answering, this.ping(pingId, pongId, rounds)]);
  }

  async startHerald(events: number): Promise<Herald> {
    const id = randomUUID();
    await this.store.start({ id, name: 'herald', input: JSON.stringify(events) });
    void this.herald(id, events);
    return { event: (index) => this.event(id, `event ${index}`) };
  }

  async close(): Promise<void> {
    await this.bell.close();
    await this.pool.end();
  }

  private async ping(id: string, partner: string, rounds: number): Promise<void> {
    const { work } = this.settings;
    let stepId = 0;
    for (let round = 0; round < rounds; round += 1) {
      work.serve();
      await this.send({ workflowId: id, stepId: stepId++ }, partner, round);
      work.returned(await this.receive(id, stepId), round);
      stepId += STEPS_OF_A_RECEIVING;
    }
    await this.store.finish({ id, output: 'null' });
  }

  private async pong(id: string, partner: string, rounds: number): Promise<void> {
    let stepId = 0;
    for (let round = 0; round < rounds; round += 1) {
      const ball = await this.receive(id, stepId);
      stepId += STEPS_OF_A_RECEIVING;
      await this.send({ workflowId: id, stepId: stepId++ }, partner, ball);
    }
    await this.store.finish({ id, output: 'null' });
  }

  private async herald(id: string, events: number): Promise<void> {
    const { work } = this.settings;
    for (let index = 0; index < events; index += 1) {
      await work.cue(index);
      work.setting();
      const key = `event ${index}`;
      await this.messages.setEvent({ workflowId: id, stepId: index }, key, JSON.stringify(index));
      this.arrivalsOf(id).add();
      this.bell.ring();
    }
    await this.store.finish({ id, output: 'null' });
  }

  private async send(
    from: { readonly workflowId: string; readonly stepId: number },
    to: string,
    ball: number,
  ): Promise<void> {
    const runsOn = await this.messages.send(from, to, JSON.stringify(ball));
    this.arrivalsOf(to).add();
    if (runsOn !== this.settings.executorId) this.bell.ring();
  }

  private receive(workflowId: string, deadlineId: number): Promise<number> {
    const place = { workflowId, stepId: deadlineId + 1 };
    const deadlineMs = Date.now() + TIMEOUT_MS;
    return this.lookUntilFound(workflowId, () => this.messages.receive(place, deadlineMs));
  }

  private event(workflowId: string, key: string): Promise<number> {
    return this.lookUntilFound(workflowId, () => this.messages.event(workflowId, key));
  }

  /** Bounded by the time limit of the phase: there is always an answer in the bench. */
  private async lookUntilFound(
    workflowId: string,
    look: () => Promise<string | undefined>,
  ): Promise<number> {
    const arrivals = this.arrivalsOf(workflowId);
    for (;;) {
      const seen = arrivals.count; // before the look, or what comes between look and wait would be missed
      const found = await look();
      if (found !== undefined) return JSON.parse(found) as number;
      await arrivals.reaches(seen + 1);
    }
  }

  private arrivalsOf(workflowId: string): Tally {
    const known = this.arrivals.get(workflowId) ?? new Tally();
    this.arrivals.set(workflowId, known);
    return known;
  }
}
