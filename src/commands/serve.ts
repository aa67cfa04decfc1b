import { Args, Flags } from '@oclif/core'
import { logHandshakeFault, logRequest } from '../cli/output/access-log.ts'
import { BaseCommand } from '../cli/base-command.ts'
import { trustFlags } from '../cli/input/flags.ts'
import { plural } from '../cli/output/format.ts'
import { Progress } from '../cli/output/progress.ts'
import type { ServeResult } from '../cli/output/shapes/serve.ts'
import { trustFrom } from '../cli/input/trust.ts'
import { AirgapError } from '../errors.ts'
import { readSmallFile } from '../files/small-file.ts'
import { isRegistryHost } from '../oci/reference.ts'
import type { HostsFolder } from '../index.ts'

const MAX_PEM = 1024 * 1024
/** Milliseconds that transfers under way get when the command is told to end. */
const PATIENCE = 10_000

export default class Serve extends BaseCommand {
  static override description =
    'Serve bundles as a read-only registry, straight from the files\nVerifies each bundle completely before anything is served. Every image answers to its full name (docker.io/library/nginx), to that name without its registry (library/nginx), and to what containerd asks for by ?ns=; a name that would mean two images is refused. Prints what nodes need to find the images under their own names.'

  static override examples = [
    '<%= config.bin %> <%= command.id %> k8s.tar --key airgap.pub',
    '<%= config.bin %> <%= command.id %> k8s.tar apps.tar --key airgap.pub --listen 0.0.0.0:5000 --tls-cert server.crt --tls-key server.key',
    '<%= config.bin %> <%= command.id %> k8s.tar --key airgap.pub --listen 10.0.0.5:5000 --plain-http --hosts-dir certs.d',
  ]

  static override args = {
    bundle: Args.string({
      description: 'The bundle files',
      required: true,
      multiple: true,
      ignoreStdin: true,
    }),
  }

  static override flags = {
    listen: Flags.string({
      description: 'Where to listen; elsewhere than on this machine alone only with TLS or --plain-http',
      default: '127.0.0.1:5000',
      helpValue: 'HOST:PORT',
    }),
    'tls-cert': Flags.string({
      description: "PEM file with the server's certificate and its intermediates",
      helpValue: 'FILE',
      dependsOn: ['tls-key'],
    }),
    'tls-key': Flags.string({
      description: "PEM file with the server's private key",
      helpValue: 'FILE',
      dependsOn: ['tls-cert'],
    }),
    'plain-http': Flags.boolean({
      description: 'Speak plain HTTP where other machines can listen in, too',
      exclusive: ['tls-cert'],
    }),
    advertise: Flags.string({
      description: 'How nodes reach this registry: it answers to that name, and the files for them have it',
      helpValue: 'HOST[:PORT]',
    }),
    'hosts-dir': Flags.string({
      description: "Write containerd's hosts.toml files below this folder",
      helpValue: 'DIR',
    }),
    force: Flags.boolean({ description: 'Replace hosts.toml files that exist', dependsOn: ['hosts-dir'] }),
    'allow-unsigned': Flags.boolean({
      description: 'Serve without knowing who made the bundle',
      helpGroup: 'TRUST',
    }),
    ...trustFlags,
  }

  #hasDocument = false

  async run(): Promise<ServeResult> {
    const { args, flags } = await this.parse(Serve)
    const paths = [...new Set(args.bundle)]
    if (flags['expect-digest'] !== undefined && paths.length > 1) {
      throw new AirgapError('USAGE', '--expect-digest is the digest of one bundle, and several are given', {
        hint: 'Serve that bundle alone, or check each with `airgap verify --expect-digest` first.',
      })
    }
    if (flags.advertise !== undefined && !isRegistryHost(flags.advertise)) {
      throw new AirgapError(
        'USAGE',
        `--advertise ${JSON.stringify(flags.advertise)}: it has to be HOST or HOST:PORT`,
      )
    }
    const { parseListen, reachableHost, readCertificate } = await import('../index.ts')
    const listen = parseListen(flags.listen)
    const tls = await readTls(flags['tls-cert'], flags['tls-key'])
    const certificate = tls && readCertificate(tls.cert, flags['tls-cert'] ?? '', Date.now())
    const trust = trustFrom(flags, { flag: '--allow-unsigned', isSet: flags['allow-unsigned'] })

    const { serve, registriesOf, HostsFolder } = await import('../index.ts')
    const { renderServe, serveResult } = await import('../cli/output/render-serve.ts')
    if (flags['allow-unsigned']) {
      this.warning('the bundles are not authenticated (--allow-unsigned): nobody is asked who made them')
    }
    const { signal } = this
    const hostsDir = flags['hosts-dir']
    const progress = new Progress()
    let hosts: HostsFolder | undefined
    try {
      await using served = await serve(paths, {
        ...trust,
        listen,
        ...(tls ? { tls } : {}),
        allowPlainHttp: flags['plain-http'],
        advertise: flags.advertise,
        signal,
        onEvent: progress.onEvent,
        onNamed: async (images) => {
          if (hostsDir === undefined) return
          hosts = await HostsFolder.reserve(hostsDir, registriesOf(images), { force: flags.force })
        },
        onRequest: (entry) => logRequest(entry),
        onHandshakeFault: (remote, message) => logHandshakeFault(remote, message),
      })
      progress.stop()
      const port = Number(new URL(served.url).port)
      const reachable = {
        host: flags.advertise ?? reachableHost({ ...listen, port }, certificate),
        isTls: tls !== undefined,
      }
      const document = serveResult(served, reachable)
      await hosts?.write(document.hostsFiles)
      this.print(renderServe(document, served, hostsDir))
      if (this.jsonEnabled()) this.logJson(document)
      await aborted(signal)
      const active = served.active()
      this.note(
        active === 0
          ? 'Ended.'
          : `Ending: ${plural(active, 'transfer')} under way; ${PATIENCE / 1000} s are left for them. Ctrl-C again ends at once.`,
      )
      await served.stop(PATIENCE)
      return document
    } catch (error) {
      await hosts?.discard()
      throw error
    } finally {
      progress.stop()
    }
  }

  /** The document is out as soon as the server listens, and not again at the end. */
  protected override logJson(json: unknown): void {
    if (this.#hasDocument) return
    this.#hasDocument = true
    super.logJson(json)
  }
}

async function readTls(
  certificate: string | undefined,
  key: string | undefined,
): Promise<{ cert: Buffer; key: Buffer } | undefined> {
  if (certificate === undefined || key === undefined) return undefined
  return { cert: await readSmallFile(certificate, MAX_PEM), key: await readSmallFile(key, MAX_PEM) }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
