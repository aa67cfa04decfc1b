// The parts of oclif that we use. Its index loads half as much again.
export * as Args from '@oclif/core/args'
export { Command } from '@oclif/core/command'
export { Config } from '@oclif/core/config'
export * as Flags from '@oclif/core/flags'
export { flush } from '@oclif/core/flush'
export { handle } from '@oclif/core/handle'
