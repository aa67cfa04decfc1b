import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { attempt, type Ended } from './processes.ts'

const README = join(import.meta.dirname, '../../../README.md')

/** The steps of the README's procedure without airgap, as they are written there. */
export const STEPS = ['signature', 'names', 'checksums', 'form'] as const
export type Step = (typeof STEPS)[number]

/**
 * Follows the README's procedure in an empty folder, a paragraph a step.
 * @param tool of the two lines that check the signature, the one to run.
 * @returns the step that failed, and how it ended; `step` is undefined when the bundle was accepted.
 */
export async function audit(
  folder: string,
  { bundle, key, tool }: { bundle: string; key: string; tool: 'cosign' | 'openssl' },
): Promise<Ended & { step: Step | undefined }> {
  const block = /```bash\n([^]*?)```/.exec(await readFile(README, 'utf8'))?.[1] ?? ''
  const [given, ...paragraphs] = block.split('\n\n')
  if (!given?.startsWith('bundle=') || paragraphs.length !== STEPS.length) {
    throw new Error('the README’s procedure is not what this test knows how to follow')
  }
  const other = tool === 'cosign' ? /^openssl .*\n/m : /^cosign .*\n/m
  let last: Ended | undefined
  for (const [i, paragraph] of paragraphs.entries()) {
    const script = `${paragraph}\n`.replace(other, '')
    last = await attempt('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: folder,
      env: { ...process.env, HOME: folder, bundle, key },
    })
    if (last.code !== 0) return { ...last, step: STEPS[i] }
  }
  if (!last) throw new Error('no step was run')
  return { ...last, step: undefined }
}
