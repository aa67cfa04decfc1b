/** Takes bundles apart and puts altered ones together, without any of the code that is under test. */

const BLOCK = 512

/** One entry with all its bytes: header, content, padding. */
export interface RawEntry {
  name: string
  size: number
  /** Offsets in the archive. */
  start: number
  contentStart: number
  end: number
  bytes: Buffer
}

/** The entries of a ustar archive of plain files, each below 8 GiB. */
export function entriesOf(archive: Buffer): RawEntry[] {
  const entries: RawEntry[] = []
  let start = 0
  while (archive[start] !== 0) {
    const name = archive.toString('utf8', start, archive.indexOf(0, start))
    const size = Number.parseInt(archive.toString('latin1', start + 124, start + 135), 8)
    const contentStart = start + BLOCK
    const end = contentStart + Math.ceil(size / BLOCK) * BLOCK
    entries.push({ name, size, start, contentStart, end, bytes: archive.subarray(start, end) })
    start = end
  }
  return entries
}

/** An archive of these entries, ended as a bundle is. */
export function archiveOf(entries: readonly Buffer[]): Buffer {
  return Buffer.concat([...entries, Buffer.alloc(2 * BLOCK)])
}

/** An entry as GNU tar writes it in ustar form for owner 0 and time 0. */
export function entry(
  name: string,
  content: Uint8Array,
  options: { type?: string; linkTo?: string } = {},
): Buffer {
  const header = Buffer.alloc(BLOCK)
  header.write(name, 0)
  header.write('0000644\x000000000\x000000000\x00', 100, 'latin1')
  header.write(`${content.length.toString(8).padStart(11, '0')}\x0000000000000\x00`, 124, 'latin1')
  header.write('        ', 148, 'latin1')
  header.write(options.type ?? '0', 156, 'latin1')
  header.write(options.linkTo ?? '', 157)
  header.write('ustar\x0000', 257, 'latin1')
  header.write('0000000\x000000000\x00', 329, 'latin1')
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\x00 `, 148, 'latin1')
  return Buffer.concat([header, padded(content)])
}

/**
 * A file that GNU tar calls `name`, and readers that do not know its sparse files call something else
 * (GNU tar manual, "PAX Format, Version 1.0" of sparse formats).
 */
export function sparseEntry(name: string, content: Uint8Array): Buffer {
  const records = [
    ['GNU.sparse.major', '1'],
    ['GNU.sparse.minor', '0'],
    ['GNU.sparse.name', name],
    ['GNU.sparse.realsize', String(content.length)],
  ].map(([key, value]) => paxRecord(`${key}=${value}`))
  const map = padded(Buffer.from(`1\n0\n${content.length}\n`))
  return Buffer.concat([
    entry(`PaxHeaders/${name}`, Buffer.from(records.join('')), { type: 'x' }),
    entry(`GNUSparseFile.0/${name}`, Buffer.concat([map, content])),
  ])
}

/** `LENGTH TEXT\n`, where LENGTH counts itself. */
function paxRecord(text: string): string {
  const rest = ` ${text}\n`
  const length = [1, 2, 3]
    .map((digits) => rest.length + digits)
    .find((all, i) => String(all).length === i + 1)
  return `${length}${rest}`
}

function padded(content: Uint8Array): Buffer {
  const bytes = Buffer.alloc(Math.ceil(content.length / BLOCK) * BLOCK)
  bytes.set(content)
  return bytes
}
