// Lets plain Node run the repository's TypeScript with decorator metadata: `node --import <this file> main.ts`.
import { register } from 'node:module';

register('./typescript-hooks.mjs', import.meta.url);
