import type { ChildProcess } from 'node:child_process'
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ended, run, start, type Ended, type RunOptions } from './processes.ts'

/**
 * A root file system that holds one program and the libraries that it is linked with; no `/dev`, `/proc`, `/etc`,
 * `/tmp`, and no shell.
 */
export class BareRoot {
  readonly folder: string
  /** The file names of the libraries. */
  readonly libraries: readonly string[]

  private constructor(folder: string, libraries: readonly string[]) {
    this.folder = folder
    this.libraries = libraries
  }

  static async create(folder: string, program: string): Promise<BareRoot> {
    const libraries = (await run('ldd', [program])).match(/\/\S+\.so\S*/g) ?? []
    for (const library of libraries) {
      await mkdir(dirname(join(folder, library)), { recursive: true })
      await copyFile(library, join(folder, library))
    }
    await copyFile(program, join(folder, 'airgap'))
    return new BareRoot(
      folder,
      libraries.map((library) => basename(library)),
    )
  }

  /** Starts the program in there, with nothing in its environment but this. */
  #start(args: readonly string[], options: RunOptions): ChildProcess {
    const env = { PATH: process.env['PATH'], ...options.env }
    return start('chroot', [this.folder, '/airgap', ...args], { ...options, env })
  }

  /** Only starts it. */
  start(...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
    const child = this.#start(args, {})
    return { child, ended: ended(child) }
  }

  attempt(args: readonly string[], env: NodeJS.ProcessEnv = {}, input = ''): Promise<Ended> {
    return ended(this.#start(args, { env, input }))
  }

  async run(args: readonly string[], env: NodeJS.ProcessEnv = {}, input = ''): Promise<string> {
    const { code, signal, stdout, stderr } = await this.attempt(args, env, input)
    if (code !== 0)
      throw new Error(`airgap ${args.join(' ')}\nended with ${code ?? signal}\n${stdout}${stderr}`)
    return stdout
  }

  /** Runs the program on a terminal, and answers each time that `prompt` is printed; gives all that was shown. */
  async converse(args: readonly string[], prompt: RegExp, answer: string): Promise<string> {
    const command = ['chroot', this.folder, '/airgap', ...args].join(' ')
    // Its input stays open: `script` ends the program when it ends.
    const child = start('script', ['-qec', command, '/dev/null'], {
      env: { PATH: process.env['PATH'] },
      keepInput: true,
    })
    let seen = ''
    let answered = 0
    child.stdout?.on('data', (chunk: Buffer) => {
      seen += chunk.toString()
      const asked = seen.match(new RegExp(prompt, 'g'))?.length ?? 0
      for (; answered < asked; answered++) child.stdin?.write(`${answer}\r`)
    })
    const { code } = await ended(child)
    if (code !== 0) throw new Error(`airgap ${args.join(' ')} on a terminal ended with ${code}\n${seen}`)
    return seen
  }

  read(name: string): Promise<string> {
    return readFile(join(this.folder, name), 'utf8')
  }

  write(name: string, content: string | Uint8Array): Promise<void> {
    return writeFile(join(this.folder, name), content)
  }
}
