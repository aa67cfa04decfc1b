import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { pack, verify } from '../../src/index.ts'
import { BundleReader } from '../../src/bundle/reader.ts'
import { openShop } from '../library/resuming.ts'
import { IDENTITY, identityToken, ISSUER, startServices } from './services.ts'

test('try', async () => {
  const shop = await openShop()
  const services = await startServices()
  const config = join(shop.folder, 'signing.json')
  const root = join(shop.folder, 'root.json')
  const token = join(shop.folder, 'token')
  await writeFile(config, services.signingConfig())
  await writeFile(root, services.trustedRoot)
  await writeFile(token, identityToken())
  const packed = await shop.pack({
    key: { keyless: { identityToken: { file: token }, signingConfig: config, trustedRoot: root } },
    retries: 0,
    onEvent: (e) => e.type === 'registry' && console.log(e.notice),
  })
  console.log(packed.certificate)
  const v = await verify(shop.output, {
    identities: [{ identity: IDENTITY, issuer: ISSUER }],
    trustedRoot: root,
  })
  console.log(JSON.stringify(v.authentication))
  await cp(shop.output, '/tmp/keyless-x/out/b.tar')
  await cp(root, '/tmp/keyless-x/out/root.json')
})
