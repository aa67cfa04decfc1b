import type { Command } from '@oclif/core'

/** Every command: one line for each file in `src/commands`. Imported when it is called, and not before. */
export const COMMANDS: Record<string, () => Promise<{ default: Command.Class }>> = {
  completion: () => import('../commands/completion.ts'),
  init: () => import('../commands/init.ts'),
  inspect: () => import('../commands/inspect.ts'),
  keygen: () => import('../commands/keygen.ts'),
  list: () => import('../commands/list.ts'),
  login: () => import('../commands/login.ts'),
  logout: () => import('../commands/logout.ts'),
  pack: () => import('../commands/pack.ts'),
  policy: () => import('../commands/policy.ts'),
  push: () => import('../commands/push.ts'),
  resolve: () => import('../commands/resolve.ts'),
  serve: () => import('../commands/serve.ts'),
  sign: () => import('../commands/sign.ts'),
  'trust-root': () => import('../commands/trust-root.ts'),
  verify: () => import('../commands/verify.ts'),
}
