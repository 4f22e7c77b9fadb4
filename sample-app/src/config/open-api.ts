/** The Swagger page: every endpoint, to read and to try. */
import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';

/** Of endpoints behind the guard of those who run the shop, for their description. */
export const FOR_OPERATORS =
  'For who runs the shop: from the machine it runs on, or, where OPERATOR_TOKEN is set, with it as bearer token.';

export function setUpOpenApi(app: INestApplication): void {
  const description =
    'A small shop on durable workflows. Place an order, kill the server, start it again: the order goes on.';
  const config = new DocumentBuilder().setTitle('Tea shop').setDescription(description).build();
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, config));
}
