import { scopeOf, type Actions } from './auth/scopes.ts'

/** The most sources of mounts that are requested with every token. */
const MOST_SOURCES = 8

/** The repositories of one registry that will be used, in order. */
export class Expected {
  readonly #actions = new Map<string, Actions>()
  #order: string[] = []
  readonly #places = new Map<string, number>()
  #sources: string[] = []

  /** Adds repositories. A repository added before for pull can be added again for push. */
  add(repositories: Iterable<string>, actions: Actions): void {
    for (const repository of repositories) {
      const known = this.#actions.get(repository)
      if (known === undefined) this.#places.set(repository, this.#order.push(repository) - 1)
      if (known !== 'pull,push') this.#actions.set(repository, actions)
    }
  }

  /** Adds repositories that blobs will be mounted from, the most used first. Tokens for any repository include them. */
  addSources(repositories: readonly string[]): void {
    this.add(repositories, 'pull')
    this.#sources = [...new Set([...this.#sources, ...repositories])].slice(0, MOST_SOURCES)
  }

  /** The scope for everything to be done in a repository; undefined for one that is not expected. */
  scope(repository: string): string | undefined {
    const actions = this.#actions.get(repository)
    return actions && scopeOf(repository, actions)
  }

  /** The repositories that blobs will be mounted from. */
  get sources(): readonly string[] {
    return this.#sources
  }

  /** The other repositories: first those after this one, then those before it. */
  *beside(repository: string): Generator<string> {
    const at = this.#places.get(repository) ?? -1
    for (let i = at + 1; i < this.#order.length; i++) yield this.#order[i] as string
    for (let i = 0; i < at; i++) yield this.#order[i] as string
  }
}
