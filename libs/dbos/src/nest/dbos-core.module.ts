/** The services of the library, global so that any provider can inject them; owns no lifecycle. */
import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { ConfigurableModuleClass } from './dbos-options.js';

@Module({ imports: [DiscoveryModule] })
export class DbosCoreModule extends ConfigurableModuleClass {}
