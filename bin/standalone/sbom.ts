import { createHash } from 'node:crypto'
import type { NodeBinary } from './node-binary.ts'
import type { BundledPackage } from './packages.ts'

/** What the bill of materials is about. */
export interface Subject {
  name: string
  version: string
  /** The executable's own, in hexadecimal. */
  sha256: string
  node: NodeBinary
  packages: ReadonlyMap<string, BundledPackage>
  /** Folders of the packages that this project itself imports. */
  imports: Iterable<string>
}

interface Component {
  type: string
  'bom-ref': string
  name: string
  version: string
  purl?: string
  cpe?: string
  licenses?: unknown[]
  hashes?: { alg: string; content: string }[]
  components?: Component[]
}

/** Names in `process.versions` that are no software of their own: numbers of interfaces, and data. */
const NO_COMPONENTS = new Set(['node', 'modules', 'napi', 'cldr', 'tz', 'unicode'])

/**
 * The bill of materials, CycloneDX 1.6: Node.js with the libraries in it, and the packages that are in the bundle.
 * The same inputs give the same bytes; the time is that of SOURCE_DATE_EPOCH, or not given.
 */
export function sbom(subject: Subject, env: NodeJS.ProcessEnv): string {
  const { name, version, node, packages } = subject
  const self = `${name}@${version}`
  const refs = new Map([...packages].map(([folder, entry]) => [folder, refOf(folder, entry)]))
  const nodeRef = `node@${node.version}`
  const refsOf = (folders: Iterable<string>): string[] =>
    [...folders].flatMap((folder) => refs.get(folder) ?? []).toSorted()
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      ...timestamp(env),
      component: {
        type: 'application',
        'bom-ref': self,
        name,
        version,
        hashes: [{ alg: 'SHA-256', content: subject.sha256 }],
      },
    },
    components: [
      nodeComponent(nodeRef, node),
      ...[...packages].map(([folder, entry]) => packageComponent(refOf(folder, entry), entry)),
    ],
    dependencies: [
      { ref: self, dependsOn: [nodeRef, ...refsOf(subject.imports)] },
      { ref: nodeRef, dependsOn: [] },
      ...[...packages].map(([folder, { imports }]) => ({
        ref: refs.get(folder) ?? '',
        dependsOn: refsOf(imports),
      })),
    ],
  }
  const serialNumber = `urn:uuid:${uuidOf(JSON.stringify(document))}`
  return `${JSON.stringify({ $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json', ...document, serialNumber }, null, 2)}\n`
}

/** The folder tells apart two copies of the same version. */
function refOf(folder: string, { name, version }: BundledPackage): string {
  return folder === `node_modules/${name}` ? `${name}@${version}` : `${name}@${version}|${folder}`
}

function nodeComponent(ref: string, node: NodeBinary): Component {
  const libraries = Object.entries(process.versions)
    .filter((entry): entry is [string, string] => entry[1] !== undefined && !NO_COMPONENTS.has(entry[0]))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  return {
    type: 'platform',
    'bom-ref': ref,
    name: 'node',
    version: node.version,
    purl: `pkg:generic/node@${node.version}`,
    cpe: `cpe:2.3:a:nodejs:node.js:${node.version}:*:*:*:*:*:*:*`,
    licenses: [{ license: { id: 'MIT' } }],
    hashes: [{ alg: 'SHA-256', content: node.sha256 }],
    components: libraries.map(([library, version]) => ({
      type: 'library',
      'bom-ref': `node@${node.version}|${library}@${version}`,
      name: library,
      version,
      purl: `pkg:generic/${library}@${encodeURIComponent(version)}`,
    })),
  }
}

function packageComponent(ref: string, { name, version, license, integrity }: BundledPackage): Component {
  const [algorithm = '', digest = ''] = integrity.split('-')
  return {
    type: 'library',
    'bom-ref': ref,
    name,
    version,
    purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
    licenses: [/^[\w.+-]+$/.test(license) ? { license: { id: license } } : { expression: license }],
    hashes: [
      {
        alg: algorithm.replace(/^sha/, 'SHA-'),
        content: Buffer.from(digest, 'base64').toString('hex'),
      },
    ],
  }
}

function timestamp({ SOURCE_DATE_EPOCH: seconds }: NodeJS.ProcessEnv): { timestamp?: string } {
  if (!seconds) return {}
  return { timestamp: new Date(Number(seconds) * 1000).toISOString() }
}

/** A UUID of version 8 (RFC 9562) out of the content's SHA-256. */
function uuidOf(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
