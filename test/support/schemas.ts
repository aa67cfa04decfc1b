import { toJsonSchema } from '@valibot/to-json-schema'
import { Ajv, type ValidateFunction } from 'ajv'
import type * as v from 'valibot'
import { expect } from 'vitest'
import { DescriptionSchema } from '../../src/bundle/description.ts'
import {
  CompletionSchema,
  InitSchema,
  KeygenSchema,
  ListSchema,
  LoginSchema,
  LogoutSchema,
  PolicySchema,
  SignSchema,
  TrustRootSchema,
} from '../../src/cli/output/shapes/results.ts'
import { ErrorSchema } from '../../src/cli/output/shapes/error.ts'
import { EvidenceSchema } from '../../src/cli/output/shapes/evidence.ts'
import { LogLineSchema } from '../../src/cli/output/shapes/log-line.ts'
import { PackSchema } from '../../src/cli/output/shapes/pack.ts'
import { PushSchema } from '../../src/cli/output/shapes/push.ts'
import { ServeSchema } from '../../src/cli/output/shapes/serve.ts'
import { LockSchema } from '../../src/pack/lock.ts'
import { ReceiptSchema } from '../../src/push/receipt.ts'
import { ReportSchema } from '../../src/verify/report/document.ts'

/** Everything that `docs/schemas` holds, by its file name there. */
export const SCHEMAS = {
  'bundle-description': ['airgap.json, the description in a bundle', DescriptionSchema],
  completion: ['What `airgap completion --json` gives', CompletionSchema],
  error: ['What every airgap command gives with --json when it fails', ErrorSchema],
  evidence: ['What `airgap verify --json` and `airgap inspect --json` give', EvidenceSchema],
  init: ['What `airgap init --json` gives; not with --print-schema', InitSchema],
  keygen: ['What `airgap keygen --json` gives', KeygenSchema],
  list: ['What `airgap list --json` gives', ListSchema],
  lock: ['The lock that `airgap resolve` gives and `airgap pack --lock` reads', LockSchema],
  'log-line': ['A line of standard error with --log-format json', LogLineSchema],
  login: ['What `airgap login --json` gives', LoginSchema],
  logout: ['What `airgap logout --json` gives', LogoutSchema],
  pack: ['What `airgap pack --json` gives', PackSchema],
  policy: ['What `airgap policy --json` gives', PolicySchema],
  push: ['What `airgap push --json` gives, with and without --dry-run', PushSchema],
  receipt: ['Receipt of an airgap push', ReceiptSchema],
  report: ['Report of a verification by airgap verify or push', ReportSchema],
  serve: ['What `airgap serve --json` gives, as soon as it listens', ServeSchema],
  sign: ['What `airgap sign --json` gives', SignSchema],
  'trust-root': ['What `airgap trust-root fetch --json` gives', TrustRootSchema],
} satisfies Record<string, [title: string, schema: v.GenericSchema]>
type SchemaName = keyof typeof SCHEMAS

/**
 * The schema of what each command gives with `--json`. A new command needs an entry here, and a test that holds real
 * output to it with {@link expectResult}.
 */
export const COMMANDS: Record<string, SchemaName> = {
  completion: 'completion',
  init: 'init',
  inspect: 'evidence',
  keygen: 'keygen',
  list: 'list',
  login: 'login',
  logout: 'logout',
  pack: 'pack',
  policy: 'policy',
  push: 'push',
  resolve: 'lock',
  serve: 'serve',
  sign: 'sign',
  'trust-root': 'trust-root',
  verify: 'evidence',
}

interface JsonSchema {
  [key: string]: unknown
}

/** A schema as it is published. */
export function published(name: SchemaName): JsonSchema {
  const [title, schema] = SCHEMAS[name]
  const { $schema, ...rest } = toJsonSchema(schema, {
    // What a schema cannot say; the pattern or the description beside it does as far as possible.
    ignoreActions: ['check', 'raw_check'],
    overrideSchema: ({ valibotSchema, jsonSchema }) =>
      valibotSchema.type === 'custom' ? jsonSchema : undefined,
  }) as JsonSchema
  return { $schema, title, ...rest }
}

/** The same without room for fields that it does not describe: a promise to readers is not leave for the writer. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed)
  if (typeof schema !== 'object' || schema === null) return schema
  const entries = Object.entries(schema).map(([key, value]) => [key, closed(value)])
  return {
    ...Object.fromEntries(entries),
    ...('properties' in schema ? { additionalProperties: false } : {}),
  }
}

const ajv = new Ajv({
  allErrors: true,
  // A union of objects has no type of its own.
  strictTypes: false,
  formats: { 'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/ },
})
const compiled = new Map<SchemaName, ValidateFunction>()

/** Holds a document to a published schema; fields that it does not describe are a failure, too. */
export function expectShape(name: SchemaName, document: unknown): void {
  const validate = compiled.get(name) ?? ajv.compile(closed(published(name)) as JsonSchema)
  compiled.set(name, validate)
  expect(validate(document) ? '' : ajv.errorsText(validate.errors, { separator: '\n' })).toBe('')
}

/** Holds what a command gave with `--json` to its schema. */
export function expectResult(command: string, document: unknown): void {
  const name = COMMANDS[command]
  if (name === undefined) throw new Error(`no schema is named for ${command}`)
  expectShape(name, document)
}

/** Every line of a log, each held to the schema of log lines. */
export function logLines(stderr: string): ({ level: string; event: string; message: string } & JsonSchema)[] {
  expect(stderr === '' || stderr.endsWith('\n')).toBe(true)
  const lines = stderr.split('\n').slice(0, -1)
  return lines.map((line) => {
    const parsed = JSON.parse(line) as ReturnType<typeof logLines>[number]
    expectShape('log-line', parsed)
    return parsed
  })
}
