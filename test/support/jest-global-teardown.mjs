// Jest loads its global teardown without path mapping; the set-up has registered our loader already.
export default async function globalTeardown() {
  const { endTestRun } = await import('./global-teardown.ts');
  await endTestRun();
}
