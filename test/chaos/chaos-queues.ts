// The queues of the application under fire, each with another kind of limit.
import type { QueueOptions } from 'nestjs-dbos';

export const QUEUES: readonly QueueOptions[] = [
  { name: 'global', concurrency: 3 },
  { name: 'worker', workerConcurrency: 2 },
  { name: 'parts', partition: { concurrency: 1 } },
  { name: 'rated', rateLimit: { limit: 10, periodMs: 1_000 } },
  { name: 'single' },
];
