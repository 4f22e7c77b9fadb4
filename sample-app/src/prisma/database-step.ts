/** How patient steps are that write to the shop's own tables. */
import type { StepOptions } from 'nestjs-dbos';

/** About a minute and a half: a database that restarts is no reason to lose an order. */
export const DATABASE_STEP: StepOptions = { maxRetries: 20, maxIntervalMs: 5_000 };
