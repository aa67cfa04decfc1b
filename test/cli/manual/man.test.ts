import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { settings } from '@oclif/core'
import { describe, expect, it } from 'vitest'
import { manuals } from '../../../bin/manuals.ts'
import { manPage } from '../../../src/cli/manual/man-page.ts'
import { ENVIRONMENT } from '../../../src/cli/manual/topics.ts'
import { loadProgram, ROOT } from '../program.ts'
import type { ProgramModel } from '../../../src/cli/manual/program.ts'

describe('the man page and docs/cli.md', () => {
  it('are what the commands say now; `npm run man` renews them', async () => {
    settings.enableAutoTranspile = false
    const pages = await manuals(ROOT)
    expect(pages.map(([path]) => path)).toEqual(['docs/man/airgap.1', 'docs/cli.md'])
    for (const [path, text] of pages) expect(readFileSync(join(ROOT, path), 'utf8'), path).toBe(text)
  })

  it('hold every command, and every flag of it', async () => {
    const program = await loadProgram()
    const page = plainText(manPage(program))
    for (const { name, flags } of program.commands) {
      const section = page.slice(page.indexOf(`.SH "AIRGAP ${name.toUpperCase()}"`)).split('\n.SH ')[0] ?? ''
      expect(section.length, name).toBeGreaterThan(100)
      for (const flag of flags) {
        expect(flag.group === 'GLOBAL' ? page : section, `${name} --${flag.name}`).toContain(`--${flag.name}`)
      }
    }
    for (const heading of [
      'NAME',
      'SYNOPSIS',
      'DESCRIPTION',
      'EXIT STATUS',
      'ENVIRONMENT',
      'FILES',
      'SEE ALSO',
    ]) {
      expect(page).toMatch(new RegExp(`^\\.SH "?${heading}"?$`, 'm'))
    }
  })

  it('name every variable of the environment that is read', () => {
    const documented = ENVIRONMENT.flatMap(([names]) => names.split(', '))
    const read = new Set<string>()
    for (const file of readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts')) continue
      const text = readFileSync(join(ROOT, 'src', file), 'utf8')
      for (const [, dotted, quoted] of text.matchAll(/\benv(?:\.([A-Z_]{2,})|\['([A-Z_]{2,})'\])/g)) {
        read.add(dotted ?? quoted ?? '')
      }
      for (const [, list] of text.matchAll(/const \{ ([A-Z_, ]+) \} = process\.env/g)) {
        for (const name of list?.split(', ') ?? []) read.add(name)
      }
      for (const [, name] of text.matchAll(/(?:_VARIABLE =|\bvariable:) '([A-Z_]+)'/g)) read.add(name ?? '')
    }
    // Windows' words for HOME.
    read.delete('USERPROFILE')
    expect([...read].toSorted()).toEqual(documented.toSorted())
  })
})

describe('text that means something to roff', () => {
  const program: ProgramModel = {
    name: 'airgap',
    version: '1',
    summary: 'A thing',
    commands: [
      {
        name: 'odd',
        summary: '.so /etc/passwd',
        description: `'tis \\n(.g back\\slash\n.sy id\n"quoted" – ~ ^ \`-o -\``,
        examples: [{ about: '.about', command: `.airgap odd 'it' \\` }],
        args: [],
        flags: [
          {
            name: 'flag',
            value: 'A"B',
            description: '.de x',
            group: 'X" \\n',
            isRequired: false,
            isRepeatable: false,
          },
        ],
      },
    ],
  }
  const page = manPage(program)

  it('begins no request', () => {
    const requests = page.split('\n').filter((line) => /^[.']/.test(line))
    expect(
      requests.filter((line) => !/^\.(\\"|TH|SH|SS|TP|PP|RS|RE|EX|EE|br|nh|nr HY 0|ad l)/.test(line)),
    ).toEqual([])
  })

  it('is printed as it is', () => {
    expect(page).toContain(String.raw`\(aqtis \en(.g back\eslash`)
    expect(page).toContain(String.raw`"quoted" \[u2013] \(ti \(ha \fB\-o \-\fP`)
    expect(page).toContain(String.raw`\&.airgap odd \(aqit\(aq \e`)
    expect(page).toContain(String.raw`.SS "X\(dq \en flags"`)
    expect(page).toMatch(/^[\n\x20-\x7e]*$/)
  })
})

/** Without the escapes that matter to these tests. */
function plainText(page: string): string {
  return page.replaceAll('\\-', '-').replaceAll(/\\f[BIP]/g, '')
}
