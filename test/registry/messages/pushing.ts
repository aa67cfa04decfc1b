import { json, sampleManifest } from '../../support/client.ts'
import { answers, against, digest, page, plain, put, upload } from './answers.ts'
import type { Case } from './case.ts'

export const PUSH_CASES: Case[] = [
  {
    name: 'a missing project, in a push',
    provoke: against(answers(404, 'NAME_UNKNOWN', 'project library not found'), upload),
    says: /^cannot upload the blob .*: the registry has no such project or repository to push into: /,
    hints: [/Harbor: a project; ECR: a repository; Gitea: an owner/],
  },
  {
    name: 'a manifest that does not state its mediaType, at ECR',
    provoke: against(
      answers(
        405,
        'UNSUPPORTED',
        "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'",
      ),
      (repository) => repository.putManifest('1.0', sampleManifest({ mediaType: undefined })),
    ),
    says: /^cannot put the manifest \S+: 127\S+ answers 405 .*; the manifest does not state its own mediaType, and some registries refuse that$/,
    hints: [/Amazon ECR/, /another digest/, /--exclude/],
  },
  {
    name: 'a manifest that is too large',
    provoke: against(answers(413, 'SIZE_INVALID', 'too large'), put),
    says: /: it is too large for the registry or for a proxy in front of it: .*; the manifest has \d+ bytes$/,
    hints: [/4 MiB/, /cannot be sent in parts/],
  },
  {
    name: 'a full disk in the registry',
    provoke: against(
      (seen, response) =>
        seen.method === 'POST'
          ? void response.writeHead(202, { location: '/v2/upload/x' }).end()
          : json(response, 500, {
              errors: [
                {
                  code: 'UNKNOWN',
                  message: 'unknown error',
                  detail: `write /var/lib/registry/${'x'.repeat(300)}/data: no space left on device`,
                },
              ],
            }),
      upload,
    ),
    says: /: the disk of the registry is full: .* answers 500 Internal Server Error \("UNKNOWN: unknown error: write \/var\/lib\/registry\/x+…x+\/data: no space left on device"\)$/,
    hints: [/garbage collection/, /push again/],
  },
  {
    name: 'a full disk, as docker-registry 2.8 tells it',
    provoke: against(
      answers(500, 'UNKNOWN', 'unknown error', {
        DriverName: 'filesystem',
        Enclosed: { Op: 'write', Path: '/var/lib/registry/docker', Err: 28 },
      }),
      upload,
    ),
    says: /: the disk of the registry is full: /,
    hints: [/garbage collection/],
  },
  {
    name: '507',
    provoke: against(plain(507, ''), upload),
    says: /: the disk of the registry is full: .* answers 507 Insufficient Storage$/,
    hints: [/garbage collection/],
  },
  {
    name: 'a quota',
    provoke: against(
      answers(
        403,
        'DENIED',
        'adding 29.0 MiB of storage resource, which when updated to current usage of 152.4 MiB will exceed the configured upper limit of 10.0 MiB.',
      ),
      put,
    ),
    says: /^cannot put the manifest .*: a quota in the registry is used up: /,
    hints: [/quota of the project raised/],
  },
  {
    name: 'a storage that cannot be written to',
    provoke: against(
      answers(
        500,
        'UNKNOWN',
        'unknown error',
        'filesystem: mkdir /var/lib/registry/docker: permission denied',
      ),
      upload,
    ),
    says: /: the registry cannot write to its disk: /,
    hints: [/belong to the user/],
  },
  {
    name: 'a read-only registry',
    provoke: against(plain(405, 'Method not allowed'), upload),
    says: /: the registry is read-only here: .* answers 405 Method Not Allowed \("Method not allowed"\)$/,
    hints: [/maintenance/, /proxy cache/],
  },
  {
    name: "Harbor's read-only mode",
    provoke: against(
      answers(403, 'DENIED', 'The system is in read only mode. Any modification is prohibited.'),
      upload,
    ),
    says: /: the registry is read-only here: /,
    hints: [/Harbor/],
  },
  {
    name: 'too deep a path',
    provoke: against(answers(400, 'NAME_INVALID', 'invalid repository name'), upload),
    says: /: the registry does not accept this name: /,
    hints: [/--path strip-host/, /--map/],
  },
  {
    name: 'something of a manifest missing',
    provoke: against(answers(400, 'MANIFEST_BLOB_UNKNOWN', 'blob unknown to registry', digest), put),
    says: /: the registry does not have a part of this manifest: .*"MANIFEST_BLOB_UNKNOWN: blob unknown to registry: sha256:[0-9a-f]{64}"/,
    hints: [/Push again/],
  },
  {
    name: 'other bytes than were sent',
    provoke: against(
      answers(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content'),
      upload,
    ),
    says: /: the registry received other bytes than were sent: /,
    hints: [/virus scanner/],
  },
  {
    name: 'a kind of manifest that is not known',
    provoke: against(answers(400, 'MANIFEST_INVALID', 'manifest invalid'), put),
    says: /: the registry does not accept this kind of manifest: /,
    hints: [/Update it/],
  },
  {
    name: '413',
    provoke: against(page(413, '<html><title>413 Request Entity Too Large</title>'), upload),
    says: /: it is too large for the registry or for a proxy in front of it: /,
    hints: [/client_max_body_size 0/, /proxy-body-size/],
  },
  {
    name: 'a redirect of a push',
    provoke: against((_, response) => void response.writeHead(301, { location: '/login' }).end(), upload),
    says: /: an unexpected redirect: /,
    hints: [/host and port/],
  },
]
