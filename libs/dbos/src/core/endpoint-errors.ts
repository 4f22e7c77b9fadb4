/** What can go wrong with endpoints that tell more than a status. */
import { DbosError } from './errors.js';

/** Endpoints that tell details of the application stand open in production; the application does not start. */
export class UnguardedEndpointsError extends DbosError {
  readonly code = 'DBOS_UNGUARDED_ENDPOINTS';

  constructor(readonly controllers: readonly string[]) {
    super(
      `${controllers.join(' and ')} would tell whoever reaches this application what runs in it, and it is in ` +
        'production. Give DbosModule.forRoot({ endpoints: { guard: YourGuard } }) a guard of yours that decides who may ' +
        'know, or mount the controller no more.',
    );
  }
}
