/** Starts the shop, and says where it is. */
import { Logger } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import { WorkflowContext, WorkflowLogger } from 'nestjs-dbos';
import { assertEnvironment, type Environment } from './config/environment.js';
import { setUpOpenApi } from './config/open-api.js';
import { startGateway } from './gateway/gateway-process.js';
import { assertReachable } from './prisma/assert-reachable.js';
import { PrismaService } from './prisma/prisma.service.js';

const logger = new Logger('Shop');

try {
  await start();
} catch (error) {
  logger.error(error instanceof Error ? error.message : String(error));
  // At once, whatever already runs: what is unfinished goes on at the next start.
  process.exit(1);
}

async function start(): Promise<void> {
  assertEnvironment();
  process.env['GATEWAY_URL'] ??= await startGateway();
  // Only now: the module reads the environment when it is loaded.
  const { AppModule } = await import('./app.module.js');
  const app = await NestFactory.create(AppModule, { abortOnError: false });
  // Lines that are logged in a workflow say of which one, and of which step.
  app.useLogger(new WorkflowLogger(app.get(WorkflowContext)));
  const config = app.get<ConfigService<Environment, true>>(ConfigService);
  await assertReachable(app.get(PrismaService), config.get('DATABASE_URL', { infer: true }));

  // SIGTERM and Ctrl-C let running steps end, and hand unfinished workflows back.
  app.enableShutdownHooks();
  setUpOpenApi(app);

  await app.listen(config.get('PORT', { infer: true }), '127.0.0.1');
  const url = await app.getUrl();
  logger.log(`Orders:  POST ${url}/orders`);
  logger.log(`Live:    ${url}/orders/<id>/page`);
  logger.log(`Swagger: ${url}/docs`);
  logger.log(`Health:  ${url}/health`);
  logger.log(`Metrics: ${url}/dbos/metrics`);
  logger.log(`Gateway: ${process.env['GATEWAY_URL']}/charges`);
}
