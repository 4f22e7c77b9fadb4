/** The Swagger page: every endpoint, to read and to try. */
import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';

/** Of endpoints with which people can try things, for their description. */
export const OPEN_TO_EVERYBODY =
  'Open to everybody here, to be tried. A real shop puts a guard before it that lets its staff pass.';

export function setUpOpenApi(app: INestApplication): void {
  const description =
    'A small shop on durable workflows. Place an order, kill the server, start it again: the order goes on.';
  const config = new DocumentBuilder().setTitle('Tea shop').setDescription(description).build();
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, config));
}
