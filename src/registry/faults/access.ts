import {
  isAccount,
  type Account,
  type AuthState,
  type FailedAnswer,
  type Meaning,
  type Stranger,
} from './answer.ts'
import { skewOf, tokenText, registryClockText } from './clock.ts'
import { quoted, type Said } from './quote.ts'
import type { Hint } from '../../hints.ts'

const NAME_OR_RIGHT =
  'Check that the account may do this, and that the name is right: some registries answer like this for what does not exist.'

/**
 * 401: no login, wrong credentials, an account without the right, or something that does not exist: Harbor answers all
 * of these with 401 (src/server/middleware/v2auth/auth.go).
 */
export function unauthorized(answer: FailedAnswer, said: Said, registry: string): Meaning {
  const { auth } = answer
  const project = /\bproject (\S{1,255}) not found/.exec(said.words)?.[1]
  if (project !== undefined && auth.kind !== 'basic') return noSuchProject(project, auth)
  if (!isAccount(auth)) {
    return {
      code: 'UNAUTHORIZED',
      cause: 'credentials are needed',
      hint: lines(
        { id: 'log-in', registry },
        placesText(auth),
        'If the image should be public, check its name: some registries answer like this for what does not exist.',
        clockHint(answer, auth),
      ),
    }
  }
  if (auth.kind === 'token') return denied(answer, said)
  if (auth.source === undefined) {
    return {
      code: 'UNAUTHORIZED',
      cause: 'user name and password are not accepted',
      hint: 'Nothing was stored. Check both: many registries want an access token or a robot account in place of the password.',
    }
  }
  return {
    code: 'UNAUTHORIZED',
    cause: `the credentials${auth.username === undefined || auth.username === '<token>' ? '' : ` of${whose(auth)}`} from ${auth.source} are not accepted`,
    hint: lines({ id: 'log-in-again', registry }, clockHint(answer, auth)),
  }
}

function noSuchProject(project: string, auth: AuthState): Meaning {
  return {
    code: 'NOT_FOUND',
    cause: `the registry has no project ${quoted(project, 80)}`,
    hint: lines(
      'Check the spelling: the first part of the path, after the host, is the project.',
      isAccount(auth) ? undefined : placesText(auth),
    ),
  }
}

/** 403, or 401 to a token that was issued for exactly this. */
export function forbidden(answer: FailedAnswer, said: Said): Meaning {
  if (said.isPage) {
    return {
      code: 'DENIED',
      cause: 'permission denied, by something in front of the registry',
      hint: 'Proxies and firewalls refuse with a web page; registries do not. Ask the operator of that proxy or firewall to let this machine through, or use another route (HTTPS_PROXY, NO_PROXY).',
    }
  }
  return denied(answer, said)
}

/** Harbor's words for a project that this account, or nobody at all, may write to. */
const OF_PROJECT =
  /\bunauthorized to access repository: \S+, action: push\b|\bcan not push artifact to a proxy project\b/

function denied(answer: FailedAnswer, said: Said): Meaning {
  const { auth } = answer
  const clock = clockHint(answer, auth)
  if (!isAccount(auth)) {
    return {
      code: 'DENIED',
      cause: 'permission denied without a login',
      hint: lines(NAME_OR_RIGHT, placesText(auth), clock),
    }
  }
  const isProject = answer.isWrite === true && !said.isPage
  const isOfProject = isProject && OF_PROJECT.test(said.words)
  return {
    code: 'DENIED',
    cause: `permission denied to the account${whose(auth)}${auth.source === undefined ? '' : ` from ${auth.source}`}`,
    hint: lines(
      NAME_OR_RIGHT,
      isProject
        ? 'To push, the account needs the right to write in this project (Harbor: Developer or more).'
        : undefined,
      clock,
    ),
    ...(isProject ? { refusal: { kind: 'denied', of: isOfProject ? 'project' : 'repository' } } : {}),
  }
}

/** The user name, after a space. Docker's mark for an identity token is not a user name. */
function whose({ username }: Account): string {
  if (username === undefined) return ''
  return username === '<token>' ? ' of an identity token' : ` ${quoted(username, 80)}`
}

function placesText({ places = [], troubles = [] }: Stranger): string | undefined {
  const nowhere = places.length === 0 ? [] : [`No credentials were found in: ${places.join('; ')}.`]
  const texts = [...troubles.map((trouble) => `Asked without credentials: ${trouble}`), ...nowhere]
  return texts.length === 0 ? undefined : texts.join('\n')
}

/** Tokens may be refused because of clocks that differ. */
function clockHint({ date }: FailedAnswer, { issuedAt }: AuthState): string | undefined {
  const now = Date.now()
  const skew = skewOf(date, now)
  const registryNow = skew === undefined ? undefined : now + skew.ms
  const token = tokenText(issuedAt, registryNow ?? now)
  if (token !== undefined) return token
  return skew?.isLarge === true ? `${registryClockText('the registry', now + skew.ms, now)}.` : undefined
}

/** Puts each hint on its own line. */
function lines(...hints: (Hint | undefined)[]): Hint[] {
  const given = hints.filter((hint) => hint !== undefined)
  return given.map((hint, i) => (i > 0 && typeof hint === 'string' ? `\n${hint}` : hint))
}
