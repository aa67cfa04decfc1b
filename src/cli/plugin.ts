import type { Command, Interfaces } from '@oclif/core'
import { readPackageFile } from '../own-files.ts'

/** Every command: one line for each file in `src/commands`. A command is imported only when it runs. */
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

/** Descriptions of the commands, written by `npm run build`, so that help and completion load no command's code. */
export const DESCRIPTIONS = 'dist/commands.json'

/**
 * The commands as an oclif plugin. By itself, oclif would look for commands in the file system and import all of them
 * at each start, and the single executable has no files.
 */
export function ownPlugin(): Interfaces.Plugin {
  const pjson = JSON.parse(readPackageFile('package.json')) as Interfaces.PJSON
  const described = JSON.parse(readPackageFile(DESCRIPTIONS)) as Command.Cached[]

  const findCommand = async (id: string): Promise<Command.Class> => {
    const load = COMMANDS[id]
    if (!load) throw new Error(`no command ${id}`)
    const { default: command } = await load()
    command.id = id
    command.plugin = plugin
    return command
  }
  const plugin: Interfaces.Plugin = {
    _base: '',
    alias: pjson.name,
    commandIDs: described.map(({ id }) => id),
    commands: described.map((command) => Object.assign(command, { load: () => findCommand(command.id) })),
    commandsDir: undefined,
    findCommand,
    hasManifest: true,
    // oclif imports hooks by path too.
    hooks: {},
    isRoot: true,
    load: () => Promise.resolve(),
    moduleType: 'module',
    name: pjson.name,
    options: { root: '/' },
    pjson,
    root: '/',
    topics: [],
    type: 'core',
    valid: true,
    version: pjson.version,
  }
  return plugin
}
