import { access, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { attempt, run, startServer, type Ended } from './processes.ts'

/** A containerd of one's own, with an empty store. */
export interface Containerd extends AsyncDisposable {
  ctr: (...args: string[]) => Promise<string>
  attemptCtr: (...args: string[]) => Promise<Ended>
  /** Digests by image name. */
  images: () => Promise<Map<string, string>>
}

export async function startContainerd(folder: string): Promise<Containerd> {
  await mkdir(folder, { recursive: true })
  const config = join(folder, 'config.toml')
  const socket = join(folder, 'containerd.sock')
  await writeFile(
    config,
    `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "${socket}"
[ttrpc]
  address = "${socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/opt"
`,
  )
  const isReady = async (): Promise<true | undefined> => {
    await access(socket).catch(() => undefined)
    return (await attempt('ctr', ['-a', socket, 'version'])).code === 0 ? true : undefined
  }
  const server = await startServer('containerd', ['-c', config], isReady)
  const ctr = (...args: string[]): Promise<string> => run('ctr', ['-a', socket, ...args])
  return {
    ctr,
    attemptCtr: (...args) => attempt('ctr', ['-a', socket, ...args]),
    images: async () => {
      const lines = (await ctr('images', 'ls')).trim().split('\n').slice(1)
      return new Map(
        lines.map((line) => {
          const [name = '', , digest = ''] = line.split(/\s+/)
          return [name, digest]
        }),
      )
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** Adds `HOST/hosts.toml` files to a folder for `ctr --hosts-dir`. */
export async function writeHostsFiles(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  for (const [host, content] of files) {
    const file = join(folder, host, 'hosts.toml')
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content)
  }
}
