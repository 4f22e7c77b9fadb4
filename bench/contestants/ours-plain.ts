/** nestjs-dbos over a Prisma client without any setting. */
import { PrismaPg } from '@prisma/adapter-pg';
import { PrismaClient } from '../generated/prisma/client.js';
import type { Contestant } from '../harness/contestant.js';
import { COMPLETED_SQL, launchApplication } from './nest/application.js';

export { pastSql } from './nest/past.js';

export const contestant: Contestant = {
  results: 'callback',
  completedSql: COMPLETED_SQL,
  launch: (settings) =>
    launchApplication(new PrismaClient({ adapter: new PrismaPg(settings.url) }), settings),
};
