// Jest loads its global set-up without path mapping; this hands over to global-setup.ts with our loader.
import './typescript-loader.mjs';

export default async function globalSetup() {
  const { startTestRun } = await import('./global-setup.ts');
  await startTestRun();
}
