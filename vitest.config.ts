import { defineConfig, type TestProjectConfiguration } from 'vitest/config';

const MINUTE = 60_000;

/** Tests that mount: one file after the other, and nothing may stay behind. */
function mounting(name: string, order: number, testTimeout: number): TestProjectConfiguration {
  return {
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      fileParallelism: false,
      maxWorkers: 1,
      sequence: { groupOrder: order },
      testTimeout,
      hookTimeout: 2 * MINUTE,
      globalSetup: ['test/support/staleMounts.ts'],
      env: { STRATAFS_SPOIL: '1' },
    },
  };
}

function plain(name: string, order: number): TestProjectConfiguration {
  return {
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      sequence: { groupOrder: order },
      testTimeout: MINUTE,
      hookTimeout: MINUTE,
      // The engine overwrites what a caller of it must not hold (src/sys/stat.ts).
      env: { STRATAFS_SPOIL: '1' },
    },
  };
}

export default defineConfig({
  test: {
    projects: [
      plain('unit', 0),
      plain('layer', 0),
      mounting('mount', 1, 2 * MINUTE),
      mounting('differential', 2, 5 * MINUTE),
      mounting('clients', 3, 10 * MINUTE),
    ],
  },
});
