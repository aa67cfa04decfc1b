import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'
import { AirgapError, fileError } from '../errors.ts'

const MAX_CA_FILE = 4 * 1024 * 1024
const PEM_BLOCK = /-----BEGIN (?:TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED )?CERTIFICATE-----/g

/**
 * Reads the certificates of a PEM file.
 * @throws AirgapError `FILE` when it cannot be read, holds no certificate, or holds a damaged one.
 */
export function readCaFile(path: string): string[] {
  let text: string
  try {
    const { size } = statSync(path)
    if (size > MAX_CA_FILE) {
      throw new AirgapError('FILE', `cannot use the CA file ${path}: it is larger than ${MAX_CA_FILE} bytes`)
    }
    text = readFileSync(path, 'latin1')
  } catch (error) {
    throw fileError(error, 'read the CA file', path)
  }
  const blocks = text.match(PEM_BLOCK) ?? []
  if (blocks.length === 0) {
    throw new AirgapError('FILE', `cannot use the CA file ${path}: it holds no PEM certificate`, {
      hint: 'The file must hold lines "-----BEGIN CERTIFICATE-----". Convert DER with: openssl x509 -inform der -in FILE -out ca.pem',
    })
  }
  for (const [i, block] of blocks.entries()) {
    try {
      void new X509Certificate(block)
    } catch (error) {
      throw new AirgapError('FILE', `cannot use the CA file ${path}: certificate ${i + 1} is damaged`, {
        cause: error,
      })
    }
  }
  return blocks
}

/**
 * A TLS context that trusts Node's default roots and those of `caFile`. Made once and shared, because reading
 * some 150 roots for each connection is slow.
 * @throws AirgapError `FILE`
 */
export function secureContextWith(caFile: string): SecureContext {
  return createSecureContext({ ca: [...getCACertificates('default'), ...readCaFile(caFile)] })
}
