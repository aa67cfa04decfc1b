import { AirgapError } from '../errors.ts'

/** A platform as in an image index or an image config (OCI image-spec, image-index.md). */
export interface Platform {
  os: string
  architecture: string
  variant?: string | undefined
  'os.version'?: string | undefined
}

const PART = /^[A-Za-z0-9_-]+$/
const WANTED = /^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]+)\))?\/([A-Za-z0-9_-]+)(?:\/([A-Za-z0-9_.-]+))?$/

/**
 * Parses a platform as users write it: `OS/ARCH[/VARIANT]`, or `OS(VERSION)/ARCH` with a Windows build
 * (containerd's notation).
 * @throws AirgapError `INVALID_PLATFORM`
 */
export function parsePlatform(text: string): Platform {
  const match = WANTED.exec(text)
  const os = match?.[1]
  const architecture = match?.[3]
  if (!match || os === undefined || architecture === undefined || !PART.test(os)) {
    throw new AirgapError('INVALID_PLATFORM', `${JSON.stringify(text)} is not a platform`, {
      hint: 'Write OS/ARCH or OS/ARCH/VARIANT: linux/amd64, linux/arm64, linux/arm/v7, windows/amd64, windows(10.0.20348)/amd64.',
    })
  }
  return normalizePlatform({ os, architecture, variant: match[4], 'os.version': match[2] })
}

/** Normalizes spellings like containerd: `aarch64` and `arm64/v8` are `arm64`, `arm` is `arm/v7`. */
export function normalizePlatform(platform: Platform): Platform {
  let os = platform.os.toLowerCase()
  let architecture = platform.architecture.toLowerCase()
  let variant = platform.variant?.toLowerCase() ?? ''
  if (os === 'macos') os = 'darwin'
  switch (architecture) {
    case 'x86_64':
    case 'x86-64':
      architecture = 'amd64'
      break
    case 'i386':
      architecture = '386'
      break
    case 'aarch64':
      architecture = 'arm64'
      break
    case 'armhf':
      architecture = 'arm'
      variant = 'v7'
      break
    case 'armel':
      architecture = 'arm'
      variant = 'v6'
      break
  }
  if (architecture === 'amd64' && variant === 'v1') variant = ''
  if (architecture === 'arm64' && (variant === '8' || variant === 'v8')) variant = ''
  if (architecture === 'arm') {
    if (variant === '') variant = 'v7'
    else if (/^[0-9]$/.test(variant)) variant = `v${variant}`
  }
  const normal: Platform = { os, architecture }
  if (variant !== '') normal.variant = variant
  if (platform['os.version']) normal['os.version'] = platform['os.version']
  return normal
}

/** `os/arch[/variant]`, or `os(version)/arch` with a Windows build: the form that {@link parsePlatform} reads. */
export function formatPlatform(platform: Platform): string {
  const p = normalizePlatform(platform)
  const version = p['os.version'] === undefined ? '' : `(${p['os.version']})`
  return `${p.os}${version}/${p.architecture}${p.variant === undefined ? '' : `/${p.variant}`}`
}

/**
 * Whether an image's platform is the wanted one. Compares exactly after normalizing: `amd64` does not match `amd64/v2`.
 * A wanted platform without `os.version` matches every build; with one, that build and those it is a prefix of
 * (`10.0.20348` matches `10.0.20348.2031`).
 */
export function matchesPlatform(wanted: Platform, actual: Platform): boolean {
  const w = normalizePlatform(wanted)
  const a = normalizePlatform(actual)
  if (w.os !== a.os || w.architecture !== a.architecture || w.variant !== a.variant) return false
  const version = w['os.version']
  if (version === undefined) return true
  return a['os.version'] === version || (a['os.version'] ?? '').startsWith(`${version}.`)
}

/**
 * Parses the platforms of an option. None named means all.
 * @throws AirgapError `INVALID_PLATFORM`
 */
export function parsePlatforms(platforms: 'all' | readonly string[] = 'all'): 'all' | Platform[] {
  if (platforms === 'all' || platforms.length === 0) return 'all'
  if (platforms.length === 1 && platforms[0] === 'all') return 'all'
  // Removes duplicates, also those in other spellings.
  return [...new Map(platforms.map(parsePlatform).map((one) => [formatPlatform(one), one])).values()]
}
