import { existsSync, statfsSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { defineConfig } from 'vitest/config'

/** They look at what their process holds open, or takes of memory, and so need one of their own. */
const ALONE = ['test/content/{abort,ends,stuck}.test.ts', 'test/duties/bounded.test.ts']

/**
 * Limits that end a test that hangs, and no other: a machine that has other things to do may take ten times as long. What
 * a hook or `expect.poll` has for itself is a few seconds by default, which some of them need when both cores are busy.
 */
const PATIENCE = {
  testTimeout: 180_000,
  hookTimeout: 180_000,
  expect: { poll: { interval: 10, timeout: 60_000 } },
}

/** Where tests write: to memory where the system keeps enough of it for files, which takes less work than a disk. */
function scratchFolder(): string {
  const inMemory = '/dev/shm'
  if (!existsSync(inMemory)) return tmpdir()
  const { bavail, bsize } = statfsSync(inMemory)
  return bavail * bsize > 4 * 1024 ** 3 ? inMemory : tmpdir()
}

const env = { TMPDIR: scratchFolder() }

export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    // Workers wait two fifths of their time, for processes that they have started and for timers.
    maxWorkers: availableParallelism() * 2,
    projects: [
      {
        test: {
          name: 'unit',
          // Loading the modules anew for each of two hundred files takes longer than their tests.
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/faults/**', ...ALONE],
          setupFiles: ['test/support/secrets/setup.ts'],
          disableConsoleIntercept: true,
          env,
          ...PATIENCE,
        },
      },
      {
        test: {
          name: 'unit-alone',
          include: ALONE,
          setupFiles: ['test/support/secrets/setup.ts'],
          disableConsoleIntercept: true,
          env,
          ...PATIENCE,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          setupFiles: ['test/support/secrets/setup.ts'],
          globalSetup: ['test/e2e/parts/announce.ts'],
          disableConsoleIntercept: true,
          expect: PATIENCE.expect,
          fileParallelism: false,
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
      {
        test: {
          name: 'faults',
          include: ['test/faults/*.test.ts'],
          setupFiles: ['test/support/secrets/setup.ts'],
          globalSetup: ['test/e2e/parts/announce.ts'],
          disableConsoleIntercept: true,
          expect: PATIENCE.expect,
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
})
