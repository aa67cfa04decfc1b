import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { RUN_JS } from './parts/airgap.ts'
import { attempt, type Ended } from './parts/processes.ts'
import { scratch } from './parts/scratch.ts'
import { withParts } from './parts/tools.ts'

const IN_CLOUD = join(import.meta.dirname, 'parts/in-cloud.ts')

/** `metadata.internal` is known in the namespace alone, and so is the cloud's address. */
const PLACE = `
ip link set lo up
ip address add 169.254.169.254/32 dev lo
mount --bind hosts /etc/hosts
exec "$@"
`

withParts('a machine in a cloud', ['network namespaces', 'ip', 'setpriv'], () => {
  test('names that lead to its own secrets are followed nowhere', async () => {
    await using folder = await scratch()
    await writeFile(join(folder.path, 'hosts'), '127.0.0.1 localhost\n169.254.169.254 metadata.internal\n')
    const result = await attempt(
      'unshare',
      ['-n', '-m', 'sh', '-ec', PLACE, 'sh', process.execPath, IN_CLOUD, process.execPath, RUN_JS],
      { cwd: folder.path, env: { PATH: process.env['PATH'], HOME: folder.path } },
    )
    expect(result.code, result.stderr).toBe(0)
    const { ends, seen } = JSON.parse(result.stdout) as { ends: Record<string, Ended>; seen: string[] }
    expect(ends['whole']?.code, ends['whole']?.stderr).toBe(0)
    for (const how of ['manifest', 'blob', 'upload']) {
      expect(ends[how]?.code, ends[how]?.stderr).toBe(4)
      const words = ends[how]?.stderr.replaceAll(/\s+/g, ' ')
      expect(words).toContain('its name leads to 169.254.169.254, a link-local address, where clouds keep')
    }
    expect(seen).toEqual([])
  })
})
