import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import type { TlsOptions } from 'node:tls'
import { onTestFinished } from 'vitest'
import { makeCertificate } from '../../support/certificates.ts'
import { makeClient, scratch, serve } from '../../support/client.ts'
import type { Case } from './case.ts'
import { request } from './network.ts'

const DAY = 86_400_000
const ca = makeCertificate({ name: 'Example Root' })
const good = makeCertificate({ name: '127.0.0.1', names: ['127.0.0.1'], issuer: ca })
const selfSigned = makeCertificate({ name: 'harbor', names: ['127.0.0.1'] })
const expired = makeCertificate({
  name: '127.0.0.1',
  names: ['127.0.0.1'],
  issuer: ca,
  notAfter: new Date(Date.now() - DAY),
})
const early = makeCertificate({
  name: '127.0.0.1',
  names: ['127.0.0.1'],
  issuer: ca,
  notAfter: new Date(Date.now() + 20 * DAY),
})
const other = makeCertificate({
  name: 'registry.example',
  names: ['registry.example', '10.0.0.9'],
  issuer: ca,
})
const nameless = makeCertificate({ name: '127.0.0.1', issuer: ca })
const oldCa = makeCertificate({ name: 'Old Root', notAfter: new Date(Date.now() - DAY) })
const underOldCa = makeCertificate({ name: '127.0.0.1', names: ['127.0.0.1'], issuer: oldCa })

/** A registry with this certificate, asked by a client that trusts `Example Root`. */
function shown(tls: { cert: string; key: string }, trusts = ca.cert): () => Promise<unknown> {
  return async () => {
    const { host } = await serve((_, response) => void response.end(), { tls })
    const caFile = join(scratch(), 'ca.pem')
    writeFileSync(caFile, trusts)
    await makeClient({ plainHttp: [], caFile }).repository(host, 'app').fetchManifest('1.0')
  }
}

function settings(options: TlsOptions): () => Promise<unknown> {
  return async () => {
    const server = createServer({ cert: good.cert, key: good.key, ...options }, (_, response) =>
      response.end(),
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
    await makeClient({ plainHttp: [] }).repository(host, 'app').fetchManifest('1.0')
  }
}

/** Ends the handshake with a fatal alert (RFC 8446 § 6). */
const alert = (description: number) => (socket: Socket) =>
  void socket.once('data', () => socket.end(Buffer.from([0x15, 3, 3, 0, 2, 2, description])))

const FINGERPRINT = /\n  (?:[0-9A-F]{2}:){16}\n  (?:[0-9A-F]{2}:){15}[0-9A-F]{2}/

export const TLS_CASES: Case[] = [
  {
    name: 'an authority that is not known',
    provoke: shown({ cert: good.cert + ca.cert, key: good.key }, selfSigned.cert),
    says: /^cannot fetch the manifest 127\.0\.0\.1:\d+\/app:1\.0: 127\.0\.0\.1:\d+: its certificate is signed by an authority that is not trusted here, "CN=Example Root" \(SELF_SIGNED_CERT_IN_CHAIN\)$/,
    hints: [
      /^If you trust it, give its certificate as a PEM file with --ca-file FILE/,
      /\/etc\/docker\/certs\.d\/127\.0\.0\.1:\d+\/ca\.crt, \/etc\/containers\/certs\.d\/127\.0\.0\.1:\d+\/ca\.crt, or a file named by SSL_CERT_FILE/,
      FINGERPRINT,
    ],
  },
  {
    name: 'an authority that is not even shown',
    provoke: shown(good, selfSigned.cert),
    says: /authority that is not trusted here, "CN=Example Root" \(UNABLE_TO_GET_ISSUER_CERT_LOCALLY\)$/,
    hints: [FINGERPRINT, /the one between it and the authority may be missing/],
  },
  {
    name: 'a certificate that has signed itself',
    provoke: shown(selfSigned),
    says: /not trusted here, itself, "CN=harbor" \(DEPTH_ZERO_SELF_SIGNED_CERT\)$/,
    hints: [FINGERPRINT],
  },
  {
    name: 'an expired certificate',
    provoke: shown(expired),
    says: /: its certificate has expired on \d{4}-\d\d-\d\d \d\d:\d\d UTC, and the clock of this machine says \d{4}-\d\d-\d\d \d\d:\d\d UTC \(CERT_HAS_EXPIRED\)$/,
    hints: [/renewed/, /date -u/],
  },
  {
    name: 'an expired authority',
    provoke: shown({ cert: underOldCa.cert + oldCa.cert, key: underOldCa.key }, oldCa.cert),
    says: /: the certificate of its authority, "CN=Old Root", has expired on /,
    hints: [/renewed/],
  },
  {
    name: 'a certificate of the future',
    provoke: shown(early),
    says: /: its certificate is not valid before \d{4}-\d\d-\d\d \d\d:\d\d UTC, and the clock of this machine says \d{4}-\d\d-\d\d \d\d:\d\d UTC \(CERT_NOT_YET_VALID\)$/,
    hints: [/^The clock of this machine is most likely wrong/],
  },
  {
    name: 'a certificate for another name',
    provoke: shown(other),
    says: /: its certificate is for another name: it holds "registry\.example, 10\.0\.0\.9" \(ERR_TLS_CERT_ALTNAME_INVALID\)$/,
    hints: [/\/etc\/hosts/, /127\.0\.0\.1 as a subjectAltName/],
  },
  {
    name: 'a certificate without names',
    provoke: shown(nameless),
    says: /: its certificate has no subjectAltName, only the common name "127\.0\.0\.1" \(ERR_TLS_CERT_ALTNAME_INVALID\)$/,
    hints: [/issued with 127\.0\.0\.1 as a subjectAltName/, /nodes refuse this one, too/],
  },
  {
    name: 'a port without TLS',
    provoke: request(
      (socket) => void socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
    ),
    says: /: it does not speak TLS on this port \(ERR_SSL_WRONG_VERSION_NUMBER\)$/,
    hints: [/--plain-http 127\.0\.0\.1:\d+$/],
  },
  {
    name: 'a version of TLS that is too old',
    provoke: settings({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }),
    says: /: it speaks no version of TLS that is accepted here \(1\.2 and 1\.3 are\) \(ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION\)$/,
    hints: [/openssl s_client -connect 127/],
  },
  {
    name: 'no cipher in common',
    provoke: settings({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-SHA' }),
    says: /: it ended the TLS handshake: no cipher in common, or it wants a client certificate \(/,
    hints: [/client\.key/, /too narrow/],
  },
  {
    name: 'a client certificate wanted, TLS 1.3',
    provoke: request(alert(116)),
    says: /: it wants a client certificate, and got none that it accepts \(ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED\)$/,
    hints: [/certs\.d\/127\.0\.0\.1:\d+\/client\.cert and client\.key/],
  },
  {
    name: 'a client certificate wanted, TLS 1.2',
    provoke: request(alert(42)),
    says: /: it wants a client certificate, and got none that it accepts \(/,
    hints: [/client\.key/],
  },
  {
    name: 'a name that the server does not know',
    provoke: request(alert(112)),
    says: /: it does not know the host name that it was contacted by \(/,
    hints: [/ingress/],
  },
  {
    name: 'another fault of TLS',
    provoke: request(alert(80)),
    says: /: TLS failed \(ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR\)$/,
    hints: [/openssl s_client/],
  },
  {
    name: 'a redirect away from TLS',
    provoke: async () => {
      const { host } = await serve(
        (_, response) => void response.writeHead(307, { location: 'http://cdn.example/x?sig=s3cret' }).end(),
        { tls: good },
      )
      await makeClient({ plainHttp: [], insecureSkipTlsVerify: [host] })
        .repository(host, 'app')
        .fetchManifest('1.0')
    },
    says: /redirects from HTTPS to plain HTTP \(http:\/\/cdn\.example\/x\)$/,
    hints: [/X-Forwarded-Proto/, /--plain-http HOST/],
  },
]
