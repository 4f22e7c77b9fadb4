// What is tried: which work, under which faults.
import type { FaultName } from './faults.js';
import type { WorkKind } from './workload.js';

export interface Scenario {
  readonly work: readonly WorkKind[];
  readonly faults: readonly FaultName[];
  /** Default 3. */
  readonly processes?: number;
  /** Connections of each process. Default 5. */
  readonly pool?: number;
  /** Default true. */
  readonly schedules?: boolean;
  /** Its server has a disk of its own, which can be filled. */
  readonly smallDisk?: boolean;
}

const ALL: readonly WorkKind[] = ['chain', 'queues', 'messages', 'duplicates'];

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  calm: { work: ALL, faults: [] },
  kill: { work: ['chain', 'chain'], faults: ['kill', 'killWhileSlow'] },
  killall: { work: ['chain', 'chain'], faults: ['killAll'] },
  freeze: { work: ['chain', 'long', 'queues'], faults: ['freeze'] },
  rolling: { work: ['chain', 'queues'], faults: ['roll'] },
  deploys: { work: ['releases', 'releases', 'queues'], faults: ['deploy', 'deploy', 'kill'] },
  restarts: {
    work: ['chain', 'queues'],
    faults: ['restartFast', 'restartImmediately', 'terminateAll'],
  },
  network: {
    work: ['chain', 'messages'],
    faults: ['cut', 'refuse', 'delay', 'blackHole', 'dropNotifications'],
  },
  acks: { work: ['chain', 'queues', 'messages'], faults: ['dropAcknowledgements'] },
  readonly: { work: ['chain', 'queues'], faults: ['readOnly'] },
  timeouts: { work: ['chain', 'queues'], faults: ['statementTimeout'] },
  pool1: { work: ['chain', 'queues'], faults: ['kill', 'cut'], pool: 1 },
  pool2: { work: ['chain', 'queues'], faults: ['kill', 'cut'], pool: 2 },
  fulldisk: { work: ['chain', 'queues', 'messages'], faults: ['fullDisk'], smallDisk: true },
  poison: { work: ['chain', 'poison'], faults: [] },
  duplicates: { work: ['duplicates', 'duplicates'], faults: ['kill', 'dropAcknowledgements'] },
  control: {
    work: ['long', 'long', 'long'],
    faults: ['cancelAndResume', 'cancelAndResume', 'kill'],
    processes: 2,
  },
  queues: { work: ['queues'], faults: ['kill', 'freeze'] },
  messages: { work: ['messages', 'messages'], faults: ['kill', 'dropNotifications', 'cut'] },
  soak: {
    work: ALL,
    faults: [
      'kill',
      'kill',
      'killWhileSlow',
      'killAll',
      'freeze',
      'roll',
      'restartFast',
      'restartImmediately',
      'terminateAll',
      'cut',
      'refuse',
      'delay',
      'blackHole',
      'dropAcknowledgements',
      'dropAcknowledgements',
      'dropNotifications',
      'readOnly',
      'statementTimeout',
    ],
  },
};
