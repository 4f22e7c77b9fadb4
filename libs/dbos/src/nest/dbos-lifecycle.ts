/** When things happen: bind at init, launch at bootstrap, admit when the application is ready, drain at destroy. */
import {
  Injectable,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import { DiscoveryService } from '@nestjs/core';
import { RegistrationError } from '../core/errors.js';
import { Engine } from '../engine/engine.js';
import { BootstrapGate } from './bootstrap-gate.js';
import { WorkflowBinder } from './workflow-binder.js';

@Injectable()
export class DbosLifecycle implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy {
  constructor(
    private readonly engine: Engine,
    private readonly binder: WorkflowBinder,
    private readonly gate: BootstrapGate,
    private readonly discovery: DiscoveryService,
  ) {}

  onModuleInit(): void {
    this.assertAlone();
    this.binder.bind();
    this.gate.watch();
    void this.gate.opened.then(() => this.engine.admit());
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.engine.launch();
  }

  async onModuleDestroy(): Promise<void> {
    await this.engine.shutdown();
    this.binder.unbind();
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
