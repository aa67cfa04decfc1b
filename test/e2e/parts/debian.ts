import { access, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './processes.ts'

const ARCHITECTURES = ['amd64', 'arm64'] as const
export type Architecture = (typeof ARCHITECTURES)[number]

/**
 * Fetches busybox-static for both architectures and unpacks it. apt works in a folder of its own, so that the
 * machine's package lists and its list of architectures stay as they are; the servers are the machine's.
 *
 * @returns the path of the program for each architecture.
 */
export async function fetchBusybox(into: string): Promise<Record<Architecture, string>> {
  const path = (name: string): string => join(into, name)
  await mkdir(path('state/lists/partial'), { recursive: true })
  await mkdir(path('cache/archives/partial'), { recursive: true })
  await writeFile(path('status'), '')
  const options = {
    'Dir::State': path('state'),
    'Dir::State::status': path('status'),
    'Dir::Cache': path('cache'),
    'Dir::Etc::sourcelist': await debianSources(),
    'Dir::Etc::sourceparts': '-',
    'APT::Sandbox::User': 'root',
  }
  const flags = [
    ...Object.entries(options).map(([name, value]) => `${name}=${value}`),
    ...ARCHITECTURES.map((architecture) => `APT::Architectures::=${architecture}`),
  ].flatMap((option) => ['-o', option])
  await run('apt-get', [...flags, '--quiet', '--error-on=any', 'update'])
  await run(
    'apt-get',
    [...flags, '--quiet', 'download', ...ARCHITECTURES.map((name) => `busybox-static:${name}`)],
    { cwd: into },
  )
  const packages = (await readdir(into)).filter((name) => name.endsWith('.deb'))
  const programs = await Promise.all(
    ARCHITECTURES.map(async (architecture) => {
      const file = packages.find((name) => name.endsWith(`_${architecture}.deb`))
      if (file === undefined) throw new Error(`apt-get has not brought busybox-static for ${architecture}`)
      await run('dpkg-deb', ['-x', path(file), path(architecture)])
      return [architecture, path(`${architecture}/bin/busybox`)] as const
    }),
  )
  return Object.fromEntries(programs) as Record<Architecture, string>
}

/** Debian's own package sources, in the newer form or the older; other vendors' are of no use here. */
async function debianSources(): Promise<string> {
  const newer = '/etc/apt/sources.list.d/debian.sources'
  return access(newer).then(
    () => newer,
    () => '/etc/apt/sources.list',
  )
}
