import { scopeOf, type Actions } from './auth/scopes.ts'

/** So many sources of mounts are asked for with every token. */
const MOST_SOURCES = 8

/** The repositories of one registry that the work ahead will use, in its order. */
export class Expected {
  readonly #actions = new Map<string, Actions>()
  #order: string[] = []
  readonly #places = new Map<string, number>()
  #sources: string[] = []

  /** Adds repositories. One that was to be read before may be written to now. */
  add(repositories: Iterable<string>, actions: Actions): void {
    for (const repository of repositories) {
      const known = this.#actions.get(repository)
      if (known === undefined) this.#places.set(repository, this.#order.push(repository) - 1)
      if (known !== 'pull,push') this.#actions.set(repository, actions)
    }
  }

  /** Repositories that blobs will be mounted from, the most wanted first: useful beside any other. */
  addSources(repositories: readonly string[]): void {
    this.add(repositories, 'pull')
    this.#sources = [...new Set([...this.#sources, ...repositories])].slice(0, MOST_SOURCES)
  }

  /** The scope for all that is to be done in a repository; undefined for one that is not expected. */
  scope(repository: string): string | undefined {
    const actions = this.#actions.get(repository)
    return actions && scopeOf(repository, actions)
  }

  /** Those that are useful beside any other. */
  get sources(): readonly string[] {
    return this.#sources
  }

  /** The others, those first that come after it. */
  *beside(repository: string): Generator<string> {
    const at = this.#places.get(repository) ?? -1
    for (let i = at + 1; i < this.#order.length; i++) yield this.#order[i] as string
    for (let i = 0; i < at; i++) yield this.#order[i] as string
  }
}
