/**
 * Builds one executable that needs no Node.js, with checksums, licences and a bill of materials beside it.
 *
 *   npm run build:standalone                                   for Linux on x64
 *   npm run build:standalone -- --arch arm64                   for another architecture
 *   npm run build:standalone -- --arch arm64 --node FILE       around that Node.js (bin/node of its archive)
 *   npm run build:standalone -- --output FOLDER                elsewhere than in dist-standalone
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { DESCRIPTIONS } from '../src/cli/plugin.ts'
import { TOOL } from '../src/own-files.ts'
import { bundle } from './standalone/bundle.ts'
import { sha256, writeChecksums } from './standalone/checksums.ts'
import { buildExecutable } from './standalone/executable.ts'
import { licensesText } from './standalone/licenses.ts'
import { ARCHITECTURES, LICENSES, type Architecture } from './standalone/names.ts'
import { findNode } from './standalone/node-binary.ts'
import { bundledPackages, importsByFolder } from './standalone/packages.ts'
import { ROOT } from './standalone/root.ts'
import { sbom } from './standalone/sbom.ts'

const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: 'x64' },
    node: { type: 'string' },
    output: { type: 'string', default: join(ROOT, 'dist-standalone') },
  },
})
const arch = values.arch as Architecture
if (!Object.hasOwn(ARCHITECTURES, arch)) {
  process.stderr.write(`--arch is one of ${Object.keys(ARCHITECTURES).join(', ')}, and not ${arch}\n`)
  process.exit(2)
}
const scratch = await mkdtemp(join(tmpdir(), 'airgap-standalone-'))
try {
  await buildStandalone(resolve(values.output))
} catch (error) {
  process.stderr.write(`Error: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
} finally {
  await rm(scratch, { recursive: true, force: true })
}

async function buildStandalone(folder: string): Promise<void> {
  const node = await findNode(arch, values.node, scratch)
  const { threads, metafiles } = await bundle(scratch)
  const packages = await bundledPackages(metafiles)
  const licenses = join(scratch, LICENSES)
  await writeFile(licenses, licensesText(TOOL.version, node, packages.values()))

  const name = `airgap-${TOOL.version}-linux-${arch}`
  const output = join(folder, name)
  await mkdir(folder, { recursive: true })
  await buildExecutable(scratch, {
    node: node.path,
    output,
    assets: {
      ...threads,
      'package.json': join(ROOT, 'package.json'),
      [DESCRIPTIONS]: join(ROOT, DESCRIPTIONS),
      [LICENSES]: licenses,
    },
    // Made by V8 for the machine that it runs on.
    useCodeCache: arch === process.arch,
  })
  const bytes = await readFile(output)
  const subject = { ...TOOL, node, packages, sha256: sha256(bytes) }
  const imports = importsByFolder(metafiles).get('') ?? []
  await writeFile(`${output}.cdx.json`, sbom({ ...subject, imports }, process.env))
  await writeFile(`${output}.${LICENSES}`, await readFile(licenses))
  await writeChecksums(folder, `airgap-${TOOL.version}-`)
  process.stdout.write(
    `${output}\n  ${bytes.length} bytes, SHA-256 ${subject.sha256}\n  Node.js ${node.version} and ${packages.size} packages\n`,
  )
}
