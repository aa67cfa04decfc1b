import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Metafile } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundle } from '../../bin/standalone/bundle.ts'
import { licensesText } from '../../bin/standalone/licenses.ts'
import { bundledPackages, importsByFolder, type BundledPackage } from '../../bin/standalone/packages.ts'
import { sbom, type Subject } from '../../bin/standalone/sbom.ts'

let folder: string
let metafiles: Metafile[]
let packages: Map<string, BundledPackage>

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'airgap-test-'))
  metafiles = (await bundle(folder)).metafiles
  packages = await bundledPackages(metafiles)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const node = { path: '/node', version: '26.0.0', license: 'Node.js is licensed', sha256: 'ab'.repeat(32) }

interface Document {
  bomFormat: string
  specVersion: string
  serialNumber: string
  version: number
  metadata: { timestamp?: string; component: Component }
  components: Component[]
  dependencies: { ref: string; dependsOn: string[] }[]
}

interface Component {
  type: string
  name: string
  version: string
  purl?: string
  'bom-ref': string
  hashes: { alg: string; content: string }[]
  licenses: ({ license: { id: string } } | { expression: string })[]
  components?: Component[]
}

function materials(more: Partial<Subject> = {}, env: NodeJS.ProcessEnv = {}): Document {
  const imports = importsByFolder(metafiles).get('') ?? []
  const subject = {
    name: 'airgap',
    version: '1.2.3',
    sha256: 'cd'.repeat(32),
    node,
    packages,
    imports,
    ...more,
  }
  return JSON.parse(sbom(subject, env)) as Document
}

describe('the bill of materials', () => {
  it('has what CycloneDX 1.6 requires', () => {
    const { bomFormat, specVersion, version, serialNumber, metadata, components, dependencies } = materials()
    expect({ bomFormat, specVersion, version }).toEqual({
      bomFormat: 'CycloneDX',
      specVersion: '1.6',
      version: 1,
    })
    // The pattern of the schema.
    expect(serialNumber).toMatch(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/)
    expect(metadata.component).toMatchObject({ type: 'application', name: 'airgap', version: '1.2.3' })
    expect(metadata.component.hashes).toEqual([{ alg: 'SHA-256', content: 'cd'.repeat(32) }])
    for (const component of components) {
      expect(['platform', 'library']).toContain(component.type)
      expect(component.purl).toMatch(/^pkg:(?:npm|generic)\/[^ ]+@[^ ]+$/)
      expect(component.licenses).toHaveLength(1)
      for (const { alg, content } of component.hashes) {
        expect(content).toHaveLength({ 'SHA-256': 64, 'SHA-512': 128 }[alg] ?? 0)
      }
    }
    const everything = [metadata.component, ...components, ...(components[0]?.components ?? [])]
    const refs = everything.map((component) => component['bom-ref'])
    expect(new Set(refs).size).toBe(refs.length)
    for (const { ref, dependsOn } of dependencies) {
      expect(refs).toContain(ref)
      for (const target of dependsOn) expect(refs).toContain(target)
    }
  })

  it('has every package of which there is code in the bundle, and no other', () => {
    const inside = new Set(
      metafiles
        .flatMap(({ outputs }) => Object.values(outputs))
        .flatMap(({ inputs }) => Object.entries(inputs))
        .filter(([path, { bytesInOutput }]) => bytesInOutput > 0 && path.includes('node_modules/'))
        .map(([path]) => path.slice(0, path.lastIndexOf('node_modules/')) + packageName(path)),
    )
    expect(inside.size).toBeGreaterThan(20)
    expect(packages.size).toBe(inside.size)
    const { components } = materials()
    const names = components.slice(1).map(({ purl }) => purl)
    expect(names).toHaveLength(inside.size)
    expect(names).toContain(`pkg:npm/%40oclif/core@${packages.get('node_modules/@oclif/core')?.version}`)
    expect(names.join(' ')).not.toMatch(/vitest|typescript|esbuild/)
  })

  it('lists the libraries within Node.js', () => {
    const [platform] = materials().components
    const openssl = platform?.components?.find(({ name }) => name === 'openssl')
    expect(openssl?.version).toBe(process.versions.openssl)
  })

  it('says who imports whom', () => {
    const { dependencies } = materials()
    const own = dependencies.find(({ ref }) => ref === 'airgap@1.2.3')?.dependsOn ?? []
    expect(own[0]).toBe('node@26.0.0')
    expect(own.some((ref) => ref.startsWith('@oclif/core@'))).toBe(true)
    // oclif's own, and none of ours.
    expect(own.some((ref) => ref.startsWith('ejs@'))).toBe(false)
    const oclif = dependencies.find(({ ref }) => ref.startsWith('@oclif/core@'))?.dependsOn ?? []
    expect(oclif.some((ref) => ref.startsWith('ejs@'))).toBe(true)
  })

  it('is the same for the same content, and has another serial number for other content', () => {
    expect(materials()).toEqual(materials())
    expect(materials({ sha256: 'ef'.repeat(32) }).serialNumber).not.toBe(materials().serialNumber)
    expect(materials().metadata).not.toHaveProperty('timestamp')
    expect(materials({}, { SOURCE_DATE_EPOCH: '1767225600' }).metadata.timestamp).toBe(
      '2026-01-01T00:00:00.000Z',
    )
  })
})

describe('the licences', () => {
  it('are those of Node.js and of every package', () => {
    const text = licensesText('1.2.3', node, packages.values())
    expect(text).toContain('Node.js is licensed')
    for (const { name, version, licenseTexts } of packages.values()) {
      expect(text).toContain(`\n${name} ${version} (`)
      expect(licenseTexts.join('').length).toBeGreaterThan(200)
    }
  })

  it('have to be there', async () => {
    const found = withPackages({ bare: {} })
    await expect(found).rejects.toThrow('node_modules/bare comes without a licence')
  })

  it('may be those of another package out of the same repository', async () => {
    const shared = { repository: { url: 'git+https://example.test/both.git' } }
    const found = await withPackages({ bare: shared, other: { ...shared, text: 'Their licence' } })
    expect(found.get('node_modules/bare')?.licenseTexts).toEqual(['Their licence'])
    const apart = withPackages({ bare: shared, other: { ...shared, license: 'ISC', text: 'Another' } })
    await expect(apart).rejects.toThrow('node_modules/bare comes without a licence')
  })
})

function packageName(path: string): string {
  return /node_modules\/((?:@[^/]+\/)?[^/]+)(?!.*node_modules\/)/.exec(path)?.[1] ?? ''
}

interface Sketch {
  license?: string
  repository?: { url: string }
  text?: string
}

/** The packages of a project that has these, and bundles one file of each. */
async function withPackages(sketches: Record<string, Sketch>): Promise<Map<string, BundledPackage>> {
  const root = await mkdtemp(join(folder, 'project-'))
  const inputs: Metafile['inputs'] = {}
  const lock: Record<string, unknown> = {}
  for (const [name, { license = 'MIT', repository, text }] of Object.entries(sketches)) {
    const path = `node_modules/${name}`
    await mkdir(join(root, path), { recursive: true })
    const manifest = { name, version: '1.0.0', license, repository }
    await writeFile(join(root, path, 'package.json'), JSON.stringify(manifest))
    if (text !== undefined) await writeFile(join(root, path, 'LICENSE'), text)
    inputs[`${path}/index.js`] = { bytes: 1, imports: [] }
    lock[path] = { integrity: 'sha512-AAAA' }
  }
  await writeFile(join(root, 'package-lock.json'), JSON.stringify({ packages: lock }))
  const output = {
    bytes: 1,
    imports: [],
    exports: [],
    inputs: Object.fromEntries(Object.keys(inputs).map((path) => [path, { bytesInOutput: 1 }])),
  }
  return bundledPackages([{ inputs, outputs: { 'out.js': output } }], root)
}
