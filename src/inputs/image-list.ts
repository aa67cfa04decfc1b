import * as v from 'valibot'
import { AirgapError, problemOf } from '../errors.ts'
import { parseStrictJson } from '../oci/json.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import type { Hint } from '../hints.ts'

/** In bytes. */
export const MAX_LIST_SIZE = 16 * 1024 * 1024

/**
 * Parses a list of image references: one per line, with `#` comments and blank lines; a byte order mark and Windows
 * line ends are allowed. `kubeadm config images list` prints such a list; its JSON (`-o json`) is accepted too.
 *
 * @param where the file name of the list, for errors.
 * @throws AirgapError `INVALID_LIST` naming every bad line with its number and reason.
 */
export function parseImageList(bytes: Uint8Array, where: string): Reference[] {
  if (bytes.length > MAX_LIST_SIZE) {
    throw new AirgapError(
      'INVALID_LIST',
      `${where}: larger than ${MAX_LIST_SIZE} bytes, so it is not a list of images`,
    )
  }
  let text: string
  try {
    // This drops a UTF-8 byte order mark.
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new AirgapError('INVALID_LIST', `${where}: it is not UTF-8 text`, {
      hint: 'Save the list as UTF-8 (PowerShell 5 writes UTF-16 by ">": use Out-File -Encoding utf8).',
    })
  }
  // Also prevents quoting lines of a binary file below.
  if (text.includes('\0'))
    throw new AirgapError('INVALID_LIST', `${where}: it contains zero bytes, so it is not text`)
  const entries = /^\s*\{/.test(text) ? entriesOfKubeadm(text, where) : entriesOfLines(text, where)
  const references: Reference[] = []
  const problems = []
  const forms = new Set<readonly Hint[]>()
  for (const { place, content } of entries) {
    try {
      references.push(parseReference(content))
    } catch (error) {
      if (!(error instanceof AirgapError)) throw error
      problems.push(problemOf(place, error))
      for (const [form, hint] of OTHER_FORMS) if (form.test(content)) forms.add(hint)
    }
  }
  if (problems.length > 0) {
    const [first] = problems
    const message =
      problems.length === 1 && first
        ? `${first.entry}: ${first.message}`
        : `${where}: ${problems.length} entries are not image references`
    throw new AirgapError('INVALID_LIST', message, {
      problems: problems.length === 1 ? [] : problems,
      hint: [
        'A list has one reference per line, and nothing else; comments begin with #.',
        ...[...forms].flat(),
      ],
    })
  }
  return references
}

/** Lines of other files that are given as a list by mistake, and what to do. */
const OTHER_FORMS: readonly [line: RegExp, hint: readonly Hint[]][] = [
  [
    /^(?:---$|-\s|["']?[\w./-]+["']?:\s)/,
    [
      'This looks like YAML. Extract only the references from other files, for example with `grep -oP "image: *\\K\\S+"`.',
      { id: 'config-flag' },
    ],
  ],
  [
    /^(?:--?[a-z]|[^\s-]\S*\s+--?[a-z])/i,
    [
      'A list cannot contain flags.',
      { id: 'platform-flag' },
      'Pack images for other platforms into another bundle.',
    ],
  ],
  [/^FROM\s/i, ['This looks like a Dockerfile: use only the reference after FROM and its flags.']],
]

interface Entry {
  /** Its place in the list, for errors. */
  place: string
  content: string
}

function entriesOfLines(text: string, where: string): Entry[] {
  return text.split(/\r\n|\n|\r/).flatMap((line, i) => {
    // References contain no "#", so a comment may follow one on the same line.
    const content = line.replace(/#.*$/, '').trim()
    return content === '' ? [] : [{ place: `${where}:${i + 1}`, content }]
  })
}

/** `Images` in kubeadm's output API (`output.kubeadm.k8s.io`). */
const KubeadmImages = v.object({
  apiVersion: v.pipe(v.string(), v.startsWith('output.kubeadm.k8s.io/')),
  kind: v.literal('Images'),
  images: v.array(v.string()),
})

function entriesOfKubeadm(text: string, where: string): Entry[] {
  const read = v.safeParse(KubeadmImages, parsed(text, where))
  if (read.success) {
    return read.output.images.map((content, i) => ({ place: `${where}: images[${i}]`, content }))
  }
  throw new AirgapError('INVALID_LIST', `${where}: it is JSON, not a list of image references`, {
    hint: [
      'The only JSON that can be a list is the output of `kubeadm config images list -o json`.',
      { id: 'lock-flag' },
    ],
  })
}

function parsed(text: string, where: string): unknown {
  try {
    return parseStrictJson(Buffer.from(text), where)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    throw new AirgapError('INVALID_LIST', error.message, { cause: error })
  }
}
