import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { outputForceFlag, registryFlags } from '../cli/input/flags.ts'
import { Progress } from '../cli/output/progress.ts'
import { pressureOptions, registryOptions } from '../cli/input/registries.ts'
import type { TrustRootResult } from '../cli/output/shapes/results.ts'
import { AirgapError } from '../errors.ts'
import { formatFields, plural } from '../cli/output/format.ts'

const {
  'plain-http': plainHttp,
  'ca-file': caFile,
  'insecure-skip-tls-verify': skipVerify,
  retries,
  timeout,
} = registryFlags

export default class TrustRoot extends BaseCommand {
  static override description =
    'Get the trusted root for checking keyless signatures\nRun this on the connected side. It fetches trusted_root.json from the TUF repository of a Sigstore instance, verifies it from a root built into airgap (or --root), and writes it unchanged. Carry it inside through a different channel than the bundles, and compare its SHA-256 there. It changes a few times a year, when the instance changes its keys or logs.'

  static override examples = [
    {
      description: 'From the public instance, into trusted_root.json',
      command: '<%= config.bin %> <%= command.id %> fetch',
    },
    {
      description: 'The same from a mirror of that repository',
      command: '<%= config.bin %> <%= command.id %> fetch --mirror https://mirror.example.com/sigstore-tuf',
    },
    {
      description: 'From a private instance, with the initial root from its operator',
      command:
        '<%= config.bin %> <%= command.id %> fetch --mirror https://tuf.example.com --root root.json -o example-root.json',
    },
  ]

  static override args = {
    action: Args.custom<'fetch'>({
      options: ['fetch'],
      description: 'What to do; fetch is the only choice',
      ignoreStdin: true,
    })({ required: true }),
  }

  static override flags = {
    output: Flags.string({
      char: 'o',
      default: 'trusted_root.json',
      description: 'Write it here; - is standard output',
      helpValue: 'FILE',
      helpGroup: 'OUTPUT',
    }),
    ...outputForceFlag,
    mirror: Flags.string({
      description: "TUF repository; by default the public instance's",
      helpValue: 'URL',
    }),
    root: Flags.string({
      description: "Initial root.json of a private instance's repository",
      helpValue: 'FILE',
    }),
    'plain-http': plainHttp,
    'ca-file': caFile,
    'insecure-skip-tls-verify': skipVerify,
    retries,
    timeout,
  }

  async run(): Promise<TrustRootResult> {
    const { flags } = await this.parse(TrustRoot)
    const { output } = flags
    const toStandardOutput = output === '-'
    if (toStandardOutput && this.jsonEnabled()) {
      throw new AirgapError('USAGE', '-o - and --json both write to standard output')
    }
    const { OutputFile } = await import('../files/output-file.ts')
    const { fetchTrustRoot } = await import('../index.ts')
    // An output that cannot be written fails before any request.
    const file = toStandardOutput ? undefined : await OutputFile.reserve(output, { force: flags.force })
    const progress = new Progress()
    try {
      const { bytes, ...fetched } = await fetchTrustRoot({
        mirror: flags.mirror,
        root: flags.root,
        registries: registryOptions(flags),
        ...pressureOptions(flags),
        signal: this.signal,
        onEvent: progress.onEvent,
      })
      progress.stop()
      await file?.write(bytes, 0)
      await file?.commit(this.signal)
      const result = { file: output, size: bytes.length, ...fetched }
      const text = renderTrustRoot(result, Date.now())
      if (toStandardOutput) {
        process.stdout.write(bytes)
        this.note(text)
      } else {
        this.print(text)
      }
      return result
    } finally {
      progress.stop()
      await file?.discard()
    }
  }
}

/** @param now milliseconds since 1970. */
function renderTrustRoot(
  { file, digest, mirror, metadata, instances }: TrustRootResult,
  now: number,
): string {
  const { timestamp, targets, root } = metadata
  const inUse = instances.filter(({ end }) => end === undefined || Date.parse(end) > now)
  const before = instances.length - inUse.length
  return [
    `Wrote ${file === '-' ? 'the trusted root to standard output' : file}`,
    formatFields([
      ['SHA-256', digest.replace('sha256:', '')],
      ['from', mirror],
      ['TUF timestamp', `version ${timestamp.version}, ${life(timestamp)}`],
      ['TUF targets', `version ${targets.version}, ${life(targets)}`],
      ['TUF root', `version ${root.version}, ${life(root)}`],
    ]),
    '',
    `It names ${plural(instances.length, 'instance')}${before === 0 ? '' : `, ${before} of them only for older signatures`}. In use:`,
    formatFields(
      inUse.map(({ kind, name, start }) => [
        kind,
        `${name}${start === undefined ? '' : `, since ${start.slice(0, 10)}`}`,
      ]),
    ),
  ].join('\n')
}

function life({ signed, expires }: TrustRootResult['metadata']['root']): string {
  return `${signed === undefined ? '' : `signed ${signed.slice(0, 10)}, `}valid until ${expires.slice(0, 10)}`
}
