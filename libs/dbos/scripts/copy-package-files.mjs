// Puts what npm publishes, and the compiler does not make, beside the compiled library in dist/libs/dbos.
import { copyFileSync } from 'node:fs';

const root = new URL('../../../', import.meta.url);
const copies = {
  'libs/dbos/package.json': 'package.json',
  'prisma/dbos.prisma': 'prisma/dbos.prisma',
  'README.md': 'README.md',
  LICENSE: 'LICENSE',
  'CHANGELOG.md': 'CHANGELOG.md',
};

for (const [from, to] of Object.entries(copies)) {
  copyFileSync(new URL(from, root), new URL(`dist/libs/dbos/${to}`, root));
}
