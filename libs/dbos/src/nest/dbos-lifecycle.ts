/** When things happen: bind at init, launch at bootstrap, admit when the application is ready, drain before it ends. */
import {
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import { DiscoveryService } from '@nestjs/core';
import { RegistrationError } from '../core/errors.js';
import { Engine } from '../engine/engine.js';
import { BootstrapGate } from './bootstrap-gate.js';
import { DrainFirst } from './drain-first.js';
import { bindExtensions } from './extensions.js';
import { Telemetry } from './telemetry/telemetry.js';
import { WorkflowBinder } from './workflow-binder.js';

/** After this long a bootstrap that has not ended is worth a word: until it does, no workflow runs. */
const BOOTSTRAP_WARNING_MS = 15_000;

@Injectable()
export class DbosLifecycle implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger('Dbos');

  constructor(
    private readonly engine: Engine,
    private readonly binder: WorkflowBinder,
    private readonly gate: BootstrapGate,
    private readonly drainFirst: DrainFirst,
    private readonly discovery: DiscoveryService,
    private readonly telemetry: Telemetry,
  ) {}

  onModuleInit(): void {
    this.assertAlone();
    bindExtensions(this.engine, this.discovery.getProviders());
    this.binder.bind();
    this.drainFirst.install(() => this.engine.shutdown());
    this.gate.watch();
    void this.gate.opened.then(() => this.engine.admit());
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.telemetry.begin();
    await this.engine.launch();
    this.warnOfLongBootstrap();
  }

  async onModuleDestroy(): Promise<void> {
    await this.engine.shutdown();
    this.telemetry.end();
    this.binder.unbind();
  }

  private warnOfLongBootstrap(): void {
    const timer = setTimeout(() => {
      this.logger.warn(
        'No workflow runs yet: onApplicationBootstrap has not finished in every provider',
        { waitingFor: this.gate.waitingFor },
      );
    }, BOOTSTRAP_WARNING_MS);
    timer.unref();
    void this.gate.opened.then(() => clearTimeout(timer));
  }

  private assertAlone(): void {
    const others = this.discovery
      .getProviders()
      .filter(({ metatype }) => metatype === DbosLifecycle);
    if (others.length > 1) {
      throw new RegistrationError(
        'DbosModule.forRoot() was imported more than once in this application. Keep one, in the root module: its ' +
          'services can be injected everywhere.',
      );
    }
  }
}
