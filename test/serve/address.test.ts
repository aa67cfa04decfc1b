import { X509Certificate } from 'node:crypto'
import { hostname } from 'node:os'
import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { parseListen, reachableHost, readCertificate, requireSafe } from '../../src/serve/address.ts'
import { makeCertificate } from '../support/certificates.ts'
import { selfSigned } from '../support/self-signed.ts'

describe('--listen', () => {
  test.each([
    ['127.0.0.1:5000', '127.0.0.1', 5000],
    ['localhost:0', 'localhost', 0],
    ['[::1]:5000', '::1', 5000],
    [':5000', '0.0.0.0', 5000],
    ['registry.internal:443', 'registry.internal', 443],
  ])('%s', (text, host, port) => {
    expect(parseListen(text)).toEqual({ host, port })
  })

  test.each([
    '5000',
    '127.0.0.1',
    '::1:5000',
    '[::1]',
    'a b:5000',
    'host:65536',
    'host:-1',
    'http://x:5000',
    '*:1',
    '',
  ])('not %j', (text) => {
    expect(() => parseListen(text)).toThrow(expect.objectContaining({ code: 'USAGE' }) as Error)
  })

  test('any text is an address or a usage error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[[\]0-9a-f.:]{0,20}:\d{0,6}$/)), (text) => {
        try {
          expect(parseListen(text).port).toBeLessThanOrEqual(65535)
        } catch (error) {
          expect(error).toMatchObject({ code: 'USAGE' })
        }
      }),
    )
  })
})

describe('plain HTTP', () => {
  const isSafe = (host: string, isTls = false, isPlainAllowed = false): boolean => {
    try {
      requireSafe({ host, port: 1 }, { isTls, isPlainAllowed })
      return true
    } catch (error) {
      expect(error).toMatchObject({
        code: 'USAGE',
        hints: expect.arrayContaining([{ id: 'serve-tls' }]) as unknown,
      })
      return false
    }
  }
  test('is for this machine alone, unless it is asked for', () => {
    for (const host of ['127.0.0.1', '127.8.9.1', 'localhost', '::1']) expect(isSafe(host)).toBe(true)
    for (const host of [
      '0.0.0.0',
      '::',
      '10.0.0.1',
      'registry.internal',
      'localhost.example',
      '2130706433',
    ]) {
      expect([host, isSafe(host)]).toEqual([host, false])
      expect(isSafe(host, true)).toBe(true)
      expect(isSafe(host, false, true)).toBe(true)
    }
  })
})

describe('what nodes are told', () => {
  const certificate = new X509Certificate(selfSigned().cert)
  test('is the address; for all addresses the name in the certificate or of the machine', () => {
    expect(reachableHost({ host: '10.0.0.5', port: 5000 }, undefined)).toBe('10.0.0.5:5000')
    expect(reachableHost({ host: '::1', port: 5000 }, undefined)).toBe('[::1]:5000')
    expect(reachableHost({ host: '0.0.0.0', port: 5000 }, undefined)).toBe(`${hostname()}:5000`)
    expect(reachableHost({ host: '::', port: 5000 }, undefined)).toBe(`${hostname()}:5000`)
    // It names only this machine itself.
    expect(reachableHost({ host: '0.0.0.0', port: 5000 }, certificate)).toBe(`${hostname()}:5000`)
  })
})

describe('a certificate', () => {
  const pem = Buffer.from(selfSigned().cert)
  test('that is none, or not valid today, is refused before anything else is done', () => {
    const now = Date.now()
    expect(readCertificate(pem, 'c.pem', now)).toBeInstanceOf(X509Certificate)
    const refused = (bytes: Buffer, at: number): unknown => {
      try {
        return readCertificate(bytes, 'c.pem', at)
      } catch (error) {
        return error
      }
    }
    expect(refused(Buffer.from('nothing'), now)).toMatchObject({ code: 'TLS' })
    expect(refused(Buffer.from(makeCertificate({ name: 'registry.internal' }).cert), now)).toMatchObject({
      code: 'TLS',
      message: 'the certificate c.pem has no subjectAltName',
    })
    expect(refused(pem, now + 400 * 86_400_000)).toMatchObject({
      code: 'TLS',
      message: expect.stringContaining('c.pem has expired on') as string,
    })
    expect(refused(pem, now - 400 * 86_400_000)).toMatchObject({
      code: 'TLS',
      message: expect.stringContaining('not valid before') as string,
    })
  })
})
