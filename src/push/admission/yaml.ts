import { Document, isMap, isNode, isScalar, visit } from 'yaml'
import { AirgapError } from '../../errors.ts'

/** Comments to put before members: each with the member's path, where numbers are indexes into lists. */
export type Comments = readonly (readonly [path: readonly (string | number)[], text: string])[]

const WIDTH = 96

/**
 * Writes a YAML document with comments before it and before members. Parsing it gives exactly `value`.
 * @param head the lines of the comment before the document; long ones are wrapped.
 */
export function commentedYaml(
  value: Record<string, unknown>,
  head: readonly string[],
  comments: Comments,
): string {
  const document = new Document(value, { aliasDuplicateObjects: false })
  // Write text with several lines (a key) as a block, and all other text on one line.
  visit(document, {
    Scalar: (_key, node) => {
      if (typeof node.value === 'string' && node.value.includes('\n')) node.type = 'BLOCK_LITERAL'
    },
  })
  document.commentBefore = asComment(head, 0)
  for (const [path, text] of comments) {
    keyAt(document, path).commentBefore = asComment([text], path.length * 2)
  }
  return document.toString({ lineWidth: 0 })
}

/** The node that gets the comment: a member's key, or an item of a list. */
function keyAt(document: Document, path: readonly (string | number)[]): { commentBefore?: string | null } {
  const last = path.at(-1)
  const parent = document.getIn(path.slice(0, -1), true)
  if (isMap(parent)) {
    const pair = parent.items.find(({ key }) => isScalar(key) && key.value === last)
    if (pair && isNode(pair.key)) return pair.key
  }
  const item = document.getIn(path, true)
  if (isNode(item)) return item
  throw new AirgapError('INTERNAL', `there is nothing at ${path.join('.')}`)
}

function asComment(lines: readonly string[], indent: number): string {
  return lines.flatMap((line) => wrapped(line, WIDTH - indent)).join('\n')
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = ''
    }
    line += ` ${word}`
  }
  return [...lines, line]
}
