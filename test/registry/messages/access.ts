import { registryError } from '../../support/client.ts'
import { answers, afterLogin, against, challenge, page, plain, pull, upload, withTokens } from './answers.ts'
import type { Case } from './case.ts'

export const ACCESS_CASES: Case[] = [
  {
    name: 'nobody logged in',
    provoke: against((_, response) => challenge(response), pull),
    says: /: credentials are needed: .* answers 401 Unauthorized \("UNAUTHORIZED: authentication required"\)$/,
    hints: [
      /^Log in with `airgap login 127\.0\.0\.1:\d+`/,
      /\nNo credentials were found in: AIRGAP_REGISTRY \(not set\); \/home\/op\/\.docker\/config\.json \(no such file\); \/home\/op\/\.config\/containers\/auth\.json \(no such file\)\./,
      /\nIf the image should be public/,
    ],
  },
  {
    name: 'a wrong password',
    provoke: against((_, response) => challenge(response), pull, { user: 'robot$ci' }),
    says: /: the credentials of "robot\$ci" from \S+auth\.json are not accepted: /,
    hints: [/airgap login 127/],
  },
  {
    name: 'an account without the right',
    provoke: against(withTokens(answers(401, 'UNAUTHORIZED', 'access denied')), upload, { user: 'ci' }),
    says: /: permission denied to the account "ci" from \S+auth\.json: /,
    hints: [/the account may do this/, /right to write in this project/],
  },
  {
    name: '403 to somebody unknown',
    provoke: against(answers(403, 'DENIED', 'requested access to the resource is denied'), pull),
    says: /: permission denied without a login: .* answers 403 Forbidden/,
    hints: [/the name is right/, /No credentials were found in/],
  },
  {
    name: '403 from a firewall',
    provoke: against(page(403, '<html><title>Blocked by "policy"</title>'), pull),
    says: /: permission denied, by something in front of the registry: .*\(an HTML page titled "Blocked by 'policy'", which/,
    hints: [/Proxies and firewalls/],
  },
  {
    name: 'a rate limit with an end',
    provoke: against((_, response) => {
      response.setHeader('retry-after', '200')
      registryError(response, 429, 'TOOMANYREQUESTS', 'You have reached your pull rate limit.')
    }, pull),
    says: /: too many requests, until .*\d\d:\d\d:\d\d \S+ \(in 3 min (?:19|20) s\): .* answers 429 Too Many Requests/,
    hints: [/log in for a higher limit/, /--mirror/, /share one limit/],
  },
  {
    name: 'the rate limit of an account, as Docker Hub tells it',
    provoke: against(
      afterLogin((_, response) => {
        response.setHeader('ratelimit-limit', '100;w=21600')
        registryError(response, 429, 'TOOMANYREQUESTS')
      }),
      pull,
      { user: 'ci' },
    ),
    says: /: too many requests \(100 in 6 h are allowed\): /,
    hints: [/The limit of the account "ci" is used up/],
  },
  {
    name: '407',
    provoke: against(plain(407, ''), pull),
    says: /: a proxy on the way wants a user name and password: /,
    hints: [/HTTPS_PROXY/],
  },
  {
    name: 'a token service that gives none',
    provoke: against((seen, response) => {
      if (seen.path === '/token') return void page(200, '<html>')(seen, response, undefined as never)
      response.setHeader('www-authenticate', 'Bearer realm="/token"')
      return registryError(response, 401, 'UNAUTHORIZED')
    }, pull),
    says: /: the token service of \S+ does not answer with a token but with an HTML page$/,
    hints: [/realm/],
  },
  {
    name: 'a token from a clock that is ahead',
    provoke: against(withTokens(answers(401, 'UNAUTHORIZED', 'token not valid yet'), 3_600_000), pull, {
      user: 'ci',
    }),
    says: /: permission denied to the account "ci"/,
    hints: [
      /The token says that it was issued at \d{4}-\d\d-\d\d \d\d:\d\d UTC, and the registry's clock says \d{4}-\d\d-\d\d \d\d:\d\d UTC/,
    ],
  },
  {
    name: 'a project that Harbor does not have',
    provoke: against(withTokens(answers(401, 'UNAUTHORIZED', 'project libary not found')), pull, {
      user: 'ci',
    }),
    says: /: the registry has no project "libary": .* answers 401 Unauthorized/,
    hints: [/the first part of the path/],
  },
  {
    name: 'a registry whose clock is behind',
    provoke: against((_, response) => {
      response.setHeader('date', new Date(Date.now() - 7_500_000).toUTCString())
      challenge(response)
    }, pull),
    says: /: credentials are needed/,
    hints: [/\nThe clock of the registry says .* UTC, and that of this machine .* UTC: 2 h [45] min apart\./],
  },
]
