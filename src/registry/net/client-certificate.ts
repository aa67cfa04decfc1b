import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { AirgapError } from '../../errors.ts'

/**
 * Checks that a client certificate and its private key are whole and belong together: the error at the connection
 * would name neither.
 * @param paths for messages.
 * @throws AirgapError `FILE`
 */
export function checkKeyPair(cert: string, key: string, paths: { cert: string; key: string }): void {
  const certificate = readCertificate(cert, paths.cert)
  const privateKey = readKey(key, paths.key)
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new AirgapError(
      'FILE',
      `the client key ${paths.key} does not belong to the client certificate ${paths.cert}`,
      { hint: 'In the .cert file, the own certificate comes first, and those of its authorities behind it.' },
    )
  }
}

function readCertificate(text: string, path: string): X509Certificate {
  try {
    return new X509Certificate(text)
  } catch {
    throw new AirgapError(
      'FILE',
      `cannot use the client certificate ${path}: it holds no PEM certificate, or a damaged one`,
    )
  }
}

function readKey(text: string, path: string): KeyObject {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(text)) {
    throw new AirgapError('FILE', `cannot use the client key ${path}: it is encrypted with a password`, {
      hint: 'Write it without one, readable for you alone: openssl pkey -in FILE -out client.key && chmod 600 client.key',
    })
  }
  try {
    return createPrivateKey(text)
  } catch {
    // No cause: a parser's message could quote the key.
    throw new AirgapError(
      'FILE',
      `cannot use the client key ${path}: it holds no PEM private key, or a damaged one`,
    )
  }
}
