import { describe, expect, it } from 'vitest'
import { residentAirgap } from '../../support/airgap.ts'

describe('flags that do not go together', () => {
  it.each([
    [
      ['--key', 'a.key', '--sign-command', 'sign --pin s3cret'],
      '--sign-command cannot also be provided when using --key',
    ],
    [['--sign-command', 'sign --pin s3cret'], 'must be provided when using --sign-command: --public-key'],
    [['--public-key', 'a.pub'], 'must be provided when using --public-key: --sign-command'],
    [['--key', 's3cret.key', '--no-sign'], '--no-sign cannot also be provided when using --key'],
  ])('%j', async (flags, message) => {
    const { code, stderr } = await residentAirgap(['pack', 'x', '-o', 'x.tar', ...flags])
    expect(code).toBe(2)
    expect(stderr.replaceAll(/\s+/g, ' ')).toContain(message)
    // Neither what was given, nor colours.
    for (const hidden of ['s3cret', 'u{1b}', '\u001b']) expect(stderr).not.toContain(hidden)
  })
})
