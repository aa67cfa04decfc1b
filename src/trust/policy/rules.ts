import type { Fault } from '../../files/yaml-faults.ts'
import { nearest } from '../../nearest.ts'
import type { PolicySigner, SignerRule } from './policy.ts'
import { parseRequirement } from './requirement.ts'
import type { PolicyDocument } from './schema.ts'

/** The rules of who has to have signed, with groups resolved into people. What cannot hold at all is a fault. */
export function signerRules(
  { groups = {}, require }: PolicyDocument,
  signers: readonly PolicySigner[],
  faults: Fault[],
): SignerRule[] {
  const people = new Set(signers.map(({ name }) => name))
  checkGroups(groups, people, faults)
  // A signer whose keys could not be read has been reported, and is not to be called revoked.
  const isRead = signers.every(({ credentials }) => credentials.length > 0)
  const active = new Set(
    signers.filter(({ credentials }) => credentials.some(({ revoked }) => !revoked)).map(({ name }) => name),
  )
  const check = (rule: SignerRule, path: Fault['path']): SignerRule => {
    const able = rule.members.filter((name) => active.has(name))
    if (rule.count > rule.members.length) {
      faults.push({
        path,
        message: `${rule.text}: asks for ${rule.count}, and these are ${rule.members.length}`,
      })
    } else if (rule.count > able.length && isRead) {
      const gone = rule.members.filter((name) => !active.has(name))
      faults.push({
        path,
        message: `${rule.text}: can never hold, because ${gone.join(', ')} ${gone.length === 1 ? 'is' : 'are'} revoked`,
      })
    }
    return rule
  }
  if (require === undefined) {
    return [check({ text: 'any one signer', count: 1, members: [...people] }, ['signers'])]
  }
  const texts = typeof require === 'string' ? [require] : require
  return texts.map((text, i) => {
    const path = typeof require === 'string' ? ['require'] : ['require', i]
    const { count, names } = parseRequirement(text)
    const members = names.flatMap((name) => {
      if (Object.hasOwn(groups, name)) return groups[name] ?? []
      if (people.has(name)) return [name]
      faults.push({
        path,
        message: unknownName(name, [...people, ...Object.keys(groups)], 'signer or group', faults),
      })
      return []
    })
    const unique = [...new Set(members)]
    const rule = { text, count: count === 'all' ? unique.length : count, members: unique }
    // With unknown names in it, how many there are says nothing.
    return names.every((name) => Object.hasOwn(groups, name) || people.has(name)) ? check(rule, path) : rule
  })
}

function checkGroups(
  groups: Record<string, readonly string[]>,
  people: ReadonlySet<string>,
  faults: Fault[],
): void {
  const known = [...people]
  const lower = new Map(known.map((name) => [name.toLowerCase(), name]))
  for (const [group, members] of Object.entries(groups)) {
    const twin = lower.get(group.toLowerCase())
    if (twin !== undefined) {
      const message = `there is ${twin} already: a group needs a name of its own`
      faults.push({ path: ['groups', group], message, atKey: true })
    }
    lower.set(group.toLowerCase(), group)
    const seen = new Set<string>()
    for (const [i, member] of members.entries()) {
      const path = ['groups', group, i]
      const isAgain = seen.has(member)
      seen.add(member)
      if (isAgain) faults.push({ path, message: `${member} is in ${group} twice; everybody counts once` })
      else if (Object.hasOwn(groups, member))
        faults.push({ path, message: `${member} is a group, and groups hold signers only` })
      else if (!people.has(member))
        faults.push({ path, message: unknownName(member, known, 'signer', faults) })
    }
  }
}

/** Looking for what was meant has its price, and nobody reads the hundredth explanation. */
const MAX_EXPLAINED = 100

function unknownName(
  name: string,
  known: readonly string[],
  what: string,
  { length }: readonly Fault[],
): string {
  const message = `there is no ${what} ${JSON.stringify(name.slice(0, 80))}`
  if (length >= MAX_EXPLAINED) return message
  const meant = nearest(
    name,
    known.map((each) => each.toLowerCase()),
  )
  const found = known.find((each) => each.toLowerCase() === meant)
  return found === undefined ? message : `${message}; did you mean ${found}?`
}
