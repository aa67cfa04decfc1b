import { basename } from 'node:path'
import type { BundleDescription } from '../bundle/description.ts'
import { BundleReader } from '../bundle/reader.ts'
import { findDescription } from '../bundle/salvage.ts'

/** The name of a bundle that goes to a stream, or whose file name is nothing but a date. */
const NAMELESS = 'bundle'

/** A file extension: a word after the last dot. `.3` is part of a version, not an extension. */
const EXTENSION = /\.[A-Za-z][A-Za-z0-9]{0,9}$/
/** Stays in the name, because a release for two platforms makes two bundles. */
const PLATFORM =
  /[-_.](?:(?:linux[-_.])?(?:amd64|x86[-_]64|arm64(?:[-_]?v8)?|aarch64|armhf|arm(?:[-_]?v[67])?|ppc64le|s390x|riscv64)|linux[-_.]386)$/i
const MONTH =
  '(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)'
/**
 * A number at the end, from a copy, a version or a date. They are removed repeatedly, so that each part of `1.36.3` or
 * `2026-11-30` goes. A number right after a few letters is part of a word: `rke2`, `s3`, `amd64`.
 */
const NUMBERS = [
  new RegExp(`(?:^|[-_. ]+)(?:\\d{1,2}[-_. ]?)?${MONTH}[-_. ]?\\d{2,4}$`, 'i'),
  // -2, _v2, .3, (2), ~1, -20261130, -r4, -w48, 2026q4, and 20261130T120000Z
  /(?:^|[-_. +~(]+)(?:v|ver|version|r|rev|w|kw|q)?\.?\d+(?:q[1-4]|t\d+z?|z)?\)?$/i,
  /(?<=\p{L}{4})\d+$/u,
]
/** What follows the numbers of a version: `1.36.0-rc.1`, `1.36.3+k3s1`. */
const VERSION_TAIL = /(?<=[-_. ]v?\d+(?:\.\d+)*)(?:[-.]?(?:alpha|beta|rc)[-.]?\d*|\+[0-9A-Za-z.-]+)$/i

/**
 * The name of a bundle that follows from its file: without the extension, and without a number, version or date at its
 * end. So `apps.tar`, `apps-2.tar` and `apps_2026-11-30.tar` are three releases of one bundle, and a push can tell which is
 * older. A platform at the end stays.
 */
export function nameOfFile(file: string): string {
  const stem = basename(file).replace(EXTENSION, '')
  const platform = PLATFORM.exec(stem)?.[0] ?? ''
  let name = stem.slice(0, stem.length - platform.length)
  for (let before = ''; before !== name;) {
    before = name
    name = name.replace(/\.tar$/i, '').replace(VERSION_TAIL, '')
    for (const number of NUMBERS) name = name.replace(number, '')
  }
  name = name.replace(/[-_. +~(]+$/, '')
  return name === '' ? `${NAMELESS}${platform}` : `${name}${platform}`
}

/** A bundle's name, and where it was taken from. */
export interface ChosenName {
  name: string
  from: 'given' | 'reuse' | 'file'
  /** The names of the bundles that blobs are reused from, each once. */
  reused: string[]
  /** Of those with the chosen name, the one with the highest sequence. */
  last: BundleDescription | undefined
}

/**
 * Chooses a bundle's name: the given one; else the name of the bundles that blobs are reused from, if they have the same;
 * else one that follows from the file.
 *
 * @param file undefined for a stream.
 * @param reuse the bundles' files. One that cannot be opened is ignored here; copying from it reports the error.
 * @throws the signal's reason.
 */
export async function chooseName(
  {
    name,
    reuse = [],
    file,
  }: { name?: string | undefined; reuse?: readonly string[] | undefined; file: string | undefined },
  signal?: AbortSignal,
): Promise<ChosenName> {
  const found: BundleDescription[] = []
  for (const path of reuse) {
    const description = await descriptionIn(path, signal)
    if (description) found.push(description)
  }
  const reused = [...new Set(found.map((each) => each.name))]
  const [only] = reused.length === 1 ? reused : []
  const chosen = name ?? only ?? (file === undefined ? NAMELESS : nameOfFile(file))
  const [last] = found.filter((each) => each.name === chosen).toSorted((a, b) => b.sequence - a.sequence)
  return {
    name: chosen,
    from: name !== undefined ? 'given' : only !== undefined ? 'reuse' : 'file',
    reused,
    last,
  }
}

async function descriptionIn(path: string, signal?: AbortSignal): Promise<BundleDescription | undefined> {
  signal?.throwIfAborted()
  const reader = await BundleReader.open(path).catch(() => undefined)
  if (!reader) return undefined
  try {
    return await findDescription(reader, signal)
  } catch {
    signal?.throwIfAborted()
    return undefined
  } finally {
    await reader.close()
  }
}
