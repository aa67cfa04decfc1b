import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { AirgapError, fileError, systemCode } from '../../errors.ts'
import { isRegistryHost } from '../../oci/reference.ts'
import { type Rule, type RuleSet, textOf } from '../../registry/mirrors/rule.ts'
import { DEFAULT_FOLDER, HOSTS_TOML, hostsRule, readHostsToml } from './hosts-toml.ts'
import { readRegistriesConf, registriesRules } from './registries-conf.ts'
import { invalid, readTomlFile } from './toml-file.ts'

const REGISTRIES_CONF = 'registries.conf'
const DROP_INS = 'registries.conf.d'
const EXPECTED =
  "Give containerd's hosts.toml, or a folder like /etc/containerd/certs.d with one for each registry; or Podman's registries.conf, or a folder like /etc/containers that contains it."

export interface MirrorFileOptions {
  /** The registries of the images. In a containerd folder, only the files for these are read. */
  registries: Iterable<string>
  /** Called for what is not supported, with the place in the file. */
  warn: (message: string) => void
}

/**
 * Reads a mirror configuration of containerd (`hosts.toml`, or a folder of `REGISTRY/hosts.toml`) or of Podman
 * (`registries.conf` version 2, or a folder with it and `registries.conf.d`, or such a folder of `*.conf` files).
 * @throws AirgapError `FILE`; `INVALID_CONFIG` with file, line and column.
 */
export async function readMirrorFiles(path: string, given: MirrorFileOptions): Promise<RuleSet> {
  const options = { ...given, warn: atMost(MAX_WARNINGS, given.warn, path) }
  if (!(await isFolder(path))) return mostSpecific(await readFileOfEither(path, options))
  const names = await namesIn(path)
  if (names.includes(HOSTS_TOML)) return mostSpecific(await readFileOfEither(join(path, HOSTS_TOML), options))
  if (names.includes(REGISTRIES_CONF) || names.includes(DROP_INS)) {
    const main = names.includes(REGISTRIES_CONF) ? [join(path, REGISTRIES_CONF)] : []
    const folder = join(path, DROP_INS)
    const dropIns = names.includes(DROP_INS) ? confFiles(folder, await namesIn(folder)) : []
    return mostSpecific(await readConfFiles([...main, ...dropIns], options))
  }
  const conf = confFiles(path, names)
  if (conf.length > 0) return mostSpecific(await readConfFiles(conf, options))
  return mostSpecific(await readCertsD(path, names, options))
}

const MAX_WARNINGS = 20

function atMost(count: number, warn: (message: string) => void, path: string): (message: string) => void {
  let told = 0
  return (message) => {
    told += 1
    if (told <= count) warn(message)
    else if (told === count + 1) warn(`${path}: more entries have no effect and are not listed`)
  }
}

function mostSpecific(rules: readonly Rule[]): RuleSet {
  return { counts: 'most specific', rules }
}

/** Reads a single file, whose format follows from its name and content. */
async function readFileOfEither(path: string, { warn }: MirrorFileOptions): Promise<Rule[]> {
  const file = await readTomlFile(path)
  const isContainerd = file.has('host') || file.has('server')
  const isPodman = file.has('registry') || file.has('registries')
  if (basename(path) === HOSTS_TOML) {
    if (isPodman)
      throw invalid(path, 'this is not a hosts.toml: [[registry]] is for registries.conf', EXPECTED)
    return [hostsRule(file, path, registryOf(path), warn)]
  }
  if (isContainerd) {
    throw invalid(
      path,
      'it looks like a hosts.toml, but has another name',
      'Name it hosts.toml, and put it into a folder with the name of its registry.',
    )
  }
  if (!isPodman && !path.endsWith('.conf')) {
    throw invalid(path, 'it is neither a hosts.toml nor a registries.conf', EXPECTED)
  }
  return registriesRules(file, path, warn)
}

/** The registry of the folder that contains a `hosts.toml`; undefined for `_default`. */
function registryOf(path: string): string | undefined {
  const folder = basename(dirname(resolve(path)))
  if (folder === DEFAULT_FOLDER) return undefined
  const registry = folder.replace(/_([0-9]+)_$/, ':$1')
  if (isRegistryHost(registry)) return registry
  throw invalid(
    path,
    `its folder, ${JSON.stringify(folder)}, must have the name of its registry`,
    'As in docker.io/hosts.toml, registry.example_5000_/hosts.toml or _default/hosts.toml.',
  )
}

/** A folder of folders, like `/etc/containerd/certs.d`. */
async function readCertsD(
  path: string,
  names: readonly string[],
  { registries, warn }: MirrorFileOptions,
): Promise<Rule[]> {
  const rules: Rule[] = []
  const files = new Set(names)
  for (const registry of registries) {
    // The first folder that exists is used, whatever is in it.
    const folder = [registry.replace(/:([0-9]+)$/, '_$1_'), registry].find((name) => files.has(name))
    if (folder !== undefined) rules.push(await readRegistryFolder(join(path, folder), registry, warn))
  }
  if (files.has(DEFAULT_FOLDER)) {
    rules.push(await readRegistryFolder(join(path, DEFAULT_FOLDER), undefined, warn))
  }
  if (rules.length === 0 && !(await hasHostsToml(path, names))) {
    throw invalid(path, 'there is no mirror configuration in this folder', EXPECTED)
  }
  return rules
}

async function readRegistryFolder(
  folder: string,
  registry: string | undefined,
  warn: (message: string) => void,
): Promise<Rule> {
  const path = join(folder, HOSTS_TOML)
  const names = await namesIn(folder)
  if (names.includes(HOSTS_TOML)) return readHostsToml(path, registry, warn)
  if (names.some((name) => /\.(?:crt|cert|key)$/.test(name))) {
    warn(`${folder}: it contains certificates but no hosts.toml, so no mirrors are read from it`)
  }
  return {
    scope: registry === undefined ? { kind: 'all' } : { kind: 'path', host: registry, path: '' },
    mirrors: [],
    source: 'own',
    origin: folder,
  }
}

async function hasHostsToml(path: string, names: readonly string[]): Promise<boolean> {
  for (const name of names) {
    const found = await stat(join(path, name, HOSTS_TOML)).catch(() => undefined)
    if (found) return true
  }
  return false
}

/** Reads files in order. A later file replaces the rule of an earlier one for the same prefix. */
async function readConfFiles(paths: readonly string[], { warn }: MirrorFileOptions): Promise<Rule[]> {
  const rules = new Map<string, Rule>()
  for (const path of paths) {
    for (const rule of await readRegistriesConf(path, warn)) rules.set(textOf(rule.scope), rule)
  }
  return [...rules.values()]
}

function confFiles(folder: string, names: readonly string[]): string[] {
  return names.filter((name) => name.endsWith('.conf')).map((name) => join(folder, name))
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    throw fileError(error, 'read mirrors from', path)
  }
}

const MAX_NAMES = 10_000

/** The names in a folder, sorted bytewise; empty if it is a file. */
async function namesIn(folder: string): Promise<string[]> {
  try {
    const names = await readdir(folder)
    if (names.length > MAX_NAMES) {
      throw new AirgapError(
        'FILE',
        `cannot read mirrors from ${folder}: it contains more than ${MAX_NAMES} files`,
      )
    }
    return names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  } catch (error) {
    if (systemCode(error) === 'ENOTDIR') return []
    throw fileError(error, 'read mirrors from', folder)
  }
}
