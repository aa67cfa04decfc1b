import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './processes.ts'

/** A private authority, and a certificate by it for 127.0.0.1 and localhost. All are paths of PEM files. */
export interface Certificates {
  ca: string
  certificate: string
  key: string
  /** A folder with nothing but `ca.crt`, as skopeo and podman want it. */
  folder: string
}

export async function makeCertificates(into: string): Promise<Certificates> {
  const path = (name: string): string => join(into, name)
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  await run('openssl', [
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    path('ca.key'),
    '-out',
    path('ca.crt'),
    '-days',
    '7',
    '-subj',
    '/CN=airgap test authority',
  ])
  await run('openssl', [
    'req',
    ...newKey,
    '-keyout',
    path('server.key'),
    '-out',
    path('server.csr'),
    '-subj',
    '/CN=registry',
  ])
  await writeFile(path('server.ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
  await run('openssl', [
    'x509',
    '-req',
    '-in',
    path('server.csr'),
    '-CA',
    path('ca.crt'),
    '-CAkey',
    path('ca.key'),
    '-CAcreateserial',
    '-days',
    '7',
    '-extfile',
    path('server.ext'),
    '-out',
    path('server.crt'),
  ])
  const folder = path('ca-folder')
  await mkdir(folder)
  await copyFile(path('ca.crt'), join(folder, 'ca.crt'))
  return { ca: path('ca.crt'), certificate: path('server.crt'), key: path('server.key'), folder }
}
