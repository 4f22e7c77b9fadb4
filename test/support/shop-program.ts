// The sample shop as the program of a child process: on a free port, which it tells its parent.
import { NestFactory } from '@nestjs/core';
import { AppModule } from '../../sample-app/src/app.module.js';

// Without its parent it has no purpose.
process.on('disconnect', () => process.exit());

const app = await NestFactory.create(AppModule, { logger: ['warn', 'error'], abortOnError: false });
await app.listen(0, '127.0.0.1');
process.send?.(await app.getUrl());
