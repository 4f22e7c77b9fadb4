// Everything that is done to the fleet, its network and its database; each fault ends what it began.
import type { ChaosServer } from './chaos-server.js';
import type { Fleet, Post } from './fleet.js';

export interface Stage {
  readonly fleet: Fleet;
  readonly server: ChaosServer;
  readonly database: string;
  readonly leaseMs: number;
}

/** Draws of this occurrence, the same for the same seed. */
export type Draw = () => number;

export type Fault = (stage: Stage, draw: Draw) => Promise<void>;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const between = (draw: Draw, min: number, max: number): number => min + draw() * (max - min);

function chosen({ fleet }: Stage, draw: Draw): Post {
  return fleet.posts[Math.floor(draw() * fleet.posts.length)]!;
}

/** The process's connections are gone for others: its locks are free, and its heartbeat does not come. */
async function absent(post: Post, stage: Stage, during: () => Promise<void>): Promise<void> {
  const absence = post.process.beginAbsence();
  await during();
  // It may have been declared dead, and hears of that with its next heartbeat.
  absence.until = performance.timeOrigin + performance.now() + stage.leaseMs;
}

export const FAULTS = {
  kill: async (stage, draw) => stage.fleet.kill(chosen(stage, draw)),

  /** Dies while its statements are on their way. */
  killWhileSlow: async (stage, draw) => {
    const post = chosen(stage, draw);
    post.proxy.delay(between(draw, 100, 300));
    await pause(between(draw, 500, 1_000));
    await stage.fleet.kill(post);
    post.proxy.delay(0);
  },

  killAll: async ({ fleet }) => {
    await Promise.all(fleet.posts.map((post) => fleet.kill(post)));
  },

  /** Half of the time for longer than the lease. */
  freeze: async (stage, draw) => {
    const { process: frozen } = chosen(stage, draw);
    const absence = frozen.freeze();
    await pause(between(draw, 0.5, 2.5) * stage.leaseMs);
    frozen.wake(absence);
  },

  /** SIGTERM to one after the other. */
  roll: async ({ fleet }) => {
    for (const post of fleet.posts) await fleet.restart(post);
  },

  /** A new version, which can do all that the one before could, to one after the other. */
  deploy: async ({ fleet }) => {
    fleet.version += 1;
    for (const post of fleet.posts) await fleet.restart(post);
  },

  restartFast: async ({ server }, draw) => {
    await server.stopFast();
    await pause(between(draw, 0, 1_000));
    await server.begin();
  },

  restartImmediately: async ({ server }, draw) => {
    await server.stopImmediately();
    await pause(between(draw, 0, 1_000));
    await server.begin();
  },

  terminateAll: async ({ server }) => server.terminateAll(),

  cut: (stage, draw) => {
    const post = chosen(stage, draw);
    return absent(post, stage, async () => post.proxy.cut(draw() < 0.5 ? 'end' : 'reset'));
  },

  refuse: (stage, draw) => {
    const post = chosen(stage, draw);
    return absent(post, stage, async () => {
      post.proxy.refuse(true);
      await pause(between(draw, 200, 3_000));
      post.proxy.refuse(false);
    });
  },

  delay: async (stage, draw) => {
    const { proxy } = chosen(stage, draw);
    proxy.delay(between(draw, 5, 120));
    await pause(between(draw, 500, 1_500));
    proxy.delay(0);
  },

  blackHole: (stage, draw) => {
    const post = chosen(stage, draw);
    return absent(post, stage, async () => {
      post.proxy.blackHole(true);
      await pause(between(draw, 500, 4_000));
      if (draw() < 0.5) post.proxy.cut('reset');
      post.proxy.blackHole(false);
    });
  },

  dropAcknowledgements: (stage, draw) => {
    const post = chosen(stage, draw);
    return absent(post, stage, async () => {
      post.proxy.dropAcknowledgements(1 + Math.floor(draw() * 5));
      await pause(between(draw, 200, 1_000));
      post.proxy.dropAcknowledgements(0);
    });
  },

  dropNotifications: async (stage, draw) => {
    stage.fleet.proxies.forEach((proxy) => proxy.dropNotifications(true));
    await pause(between(draw, 500, 2_000));
    stage.fleet.proxies.forEach((proxy) => proxy.dropNotifications(false));
  },

  /** As a failover to a replica that has not been promoted yet. */
  readOnly: async ({ server }, draw) => {
    await server.set('default_transaction_read_only', 'on');
    await pause(between(draw, 300, 2_000));
    await server.set('default_transaction_read_only', undefined);
  },

  fullDisk: async ({ server }, draw) => {
    await server.fillDisk(between(draw, 1_000, 5_000));
    await server.freeDisk();
  },

  /** By an operator at the database, of whom no process is told. */
  cancelAndResume: async ({ server, database }, draw) => {
    const cancelled = await server.cancelSome(database, '%-long-%', 1 + Math.floor(draw() * 8));
    await pause(between(draw, 0, 150));
    await server.resume(database, cancelled);
  },

  /** A time limit of the server, and somebody who holds a lock for longer. */
  statementTimeout: async ({ server, database }, draw) => {
    await server.set('statement_timeout', '50ms');
    const tables = ['workflows', 'steps', 'executors', 'queues', 'messages', 'schedules'];
    const table = tables[Math.floor(draw() * tables.length)];
    const release = await server.lock(database, `dbos.${table}`).catch(() => undefined);
    await pause(between(draw, 300, 2_000));
    await release?.();
    await server.set('statement_timeout', undefined);
  },
} satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;
