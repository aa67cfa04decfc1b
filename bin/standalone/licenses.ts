import type { BundledPackage } from './packages.ts'
import type { NodeBinary } from './node-binary.ts'

const RULE = '='.repeat(80)

/** The licences of everything in the executable that others have written. */
export function licensesText(version: string, node: NodeBinary, packages: Iterable<BundledPackage>): string {
  const parts = [...packages].map((entry) => ({
    title: `${entry.name} ${entry.version} (${entry.license})`,
    text: entry.licenseTexts.join('\n\n'),
  }))
  parts.unshift({ title: `Node.js ${node.version}, with what it contains`, text: node.license })
  return [
    `The executable of airgap ${version} contains the software below, under these licences.`,
    ...parts.map(({ title }) => `  ${title}`),
    ...parts.flatMap(({ title, text }) => [
      `\n${RULE}\n${title}\n${RULE}\n`,
      text.replaceAll('\r\n', '\n').trim(),
    ]),
    '',
  ].join('\n')
}
