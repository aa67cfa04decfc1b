import * as v from 'valibot'

/**
 * Decodes canonical base64 (RFC 4648 § 4): standard alphabet, padded, no spare bits, no white space, not empty.
 * `Buffer.from` skips unknown characters, so two readers could see different bytes in the same text.
 *
 * @returns undefined for any other text.
 */
export function decodeBase64(text: string): Buffer | undefined {
  if (text === '') return undefined
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}

/** A schema for such a text, which stays a text. */
export const base64Text = v.pipe(
  v.string('a base64 string is expected'),
  v.check((text) => decodeBase64(text) !== undefined, 'it is not canonical base64'),
)

/** One block of a PEM file (RFC 7468). */
export interface PemBlock {
  /** The text after `BEGIN`. */
  label: string
  /** The decoded body; undefined if it is not base64, or has headers (RFC 1421, OpenSSL's old encryption). */
  der: Buffer | undefined
  /** Whether the body has headers that say it is encrypted the old way (`Proc-Type: 4,ENCRYPTED`). */
  oldEncryption: boolean
  /** The block as text, with `\n` line ends. */
  text: string
}

const BEGIN = /^-----BEGIN ([A-Z0-9][A-Z0-9 ]{0,60})-----$/

/**
 * Parses the blocks of a PEM file. Text outside the blocks (RFC 7468 § 5.2) is ignored; Windows line ends and a byte
 * order mark are allowed. A block without its END line is ignored.
 */
export function pemBlocks(bytes: Uint8Array): PemBlock[] {
  const lines = Buffer.from(bytes).toString('latin1').split('\n')
  const blocks: PemBlock[] = []
  let label: string | undefined
  let body: string[] = []
  for (const raw of lines) {
    const line = raw.trim().replace(/^\xef\xbb\xbf/, '')
    const begin = BEGIN.exec(line)
    if (begin) {
      label = begin[1]
      body = []
    } else if (label !== undefined && line === `-----END ${label}-----`) {
      blocks.push(toBlock(label, body))
      label = undefined
    } else {
      body.push(line)
    }
  }
  return blocks
}

function toBlock(label: string, body: string[]): PemBlock {
  const oldEncryption = body.some((line) => /^Proc-Type:\s*4,\s*ENCRYPTED$/.test(line))
  return {
    label,
    der: decodeBase64(body.join('')),
    oldEncryption,
    text: [`-----BEGIN ${label}-----`, ...body, `-----END ${label}-----`, ''].join('\n'),
  }
}

/** `der` as a PEM block with lines of 64 characters, as Go and OpenSSL write them. */
export function toPem(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .match(/.{1,64}/g)
  return [`-----BEGIN ${label}-----`, ...(lines ?? []), `-----END ${label}-----`, ''].join('\n')
}
