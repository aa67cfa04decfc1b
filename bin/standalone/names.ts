/** The executable's asset that holds the licences; also the name of the file beside it. */
export const LICENSES = 'THIRD-PARTY-LICENSES.txt'

/** Node's names for the architectures, and the number that an ELF header has for each. */
export const ARCHITECTURES = { x64: 62, arm64: 183 } as const

export type Architecture = keyof typeof ARCHITECTURES
