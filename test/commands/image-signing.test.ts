import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { imageSigningFrom } from '../../src/cli/input/signer.ts'
import { writeKeyPair } from '../../src/trust/key-files.ts'
import { errorOf, temporaryFolder } from '../trust/helpers.ts'

describe('the password of the key for images', () => {
  it('comes from its own file, its own variable, or those of all keys, in this order', async () => {
    const folder = await temporaryFolder()
    const key = join(folder, 'cluster.key')
    await writeKeyPair({ prefix: join(folder, 'cluster'), password: 'for-images' })
    const file = join(folder, 'password')
    await writeFile(file, 'for-images\n')
    const open = (more: object = {}): ReturnType<typeof imageSigningFrom> =>
      imageSigningFrom({ 'sign-images': key, 'allow-unsigned': false, ...more }, () => {})

    vi.stubEnv('COSIGN_PASSWORD', undefined)
    vi.stubEnv('AIRGAP_PASSWORD', 'of another key')
    vi.stubEnv('AIRGAP_SIGN_IMAGES_PASSWORD', 'for-images')
    expect((await open())?.key.publicKey.fingerprint).toMatch(/^[0-9a-f]{64}$/)
    vi.stubEnv('AIRGAP_SIGN_IMAGES_PASSWORD', 'wrong')
    expect((await open({ 'sign-images-password-file': file }))?.formats).toBeUndefined()
    vi.stubEnv('AIRGAP_SIGN_IMAGES_PASSWORD', undefined)
    vi.stubEnv('AIRGAP_PASSWORD', 'for-images')
    expect(await open({ 'image-signature-format': ['sigstore-bundle'] })).toMatchObject({
      formats: ['sigstore-bundle'],
    })

    vi.stubEnv('AIRGAP_PASSWORD', undefined)
    const error = await errorOf(() => open())
    expect(error.code).toBe('PASSWORD')
    expect(error.hint).toContain('AIRGAP_SIGN_IMAGES_PASSWORD')
    expect(error.hint).toContain('--sign-images-password-file')
    vi.unstubAllEnvs()
  })

  it('is not asked for where nothing may be signed', async () => {
    const error = await errorOf(() =>
      imageSigningFrom({ 'sign-images': '/nonexistent.key', 'allow-unsigned': true }, () => {}),
    )
    expect({ code: error.code, message: error.message }).toEqual({
      code: 'USAGE',
      message: '--sign-images and --allow-unsigned cannot be used together',
    })
    expect(await imageSigningFrom({ 'allow-unsigned': true }, () => {})).toBeUndefined()
  })
})
