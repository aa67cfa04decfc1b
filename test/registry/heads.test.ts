import { createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { makeClient } from '../support/client.ts'

/** A registry that answers every request with the same bytes, and counts connections. */
async function saying(
  answer: (method: string) => string,
): Promise<{ host: string; connections: () => number }> {
  let connections = 0
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (data) => {
      const [method = ''] = data.toString('latin1').split(' ')
      socket.write(answer(method))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { host: `127.0.0.1:${port}`, connections: () => connections }
}

test('many HEADs share a connection', async () => {
  const { host, connections } = await saying((method) =>
    method === 'GET'
      ? 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}'
      : 'HTTP/1.1 404 Not Found\r\nContent-Length: 4711\r\n\r\n',
  )
  const repository = makeClient().repository(host, 'app')
  for (let i = 0; i < 10; i += 1) {
    expect(await repository.statBlob(digestOf(String(i)))).toBeUndefined()
  }
  expect(connections()).toBeLessThan(4)
})

test('a body behind the answer to a HEAD is no answer to what is asked next', async () => {
  const lie = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlying'
  const { host } = await saying((method) =>
    method === 'GET'
      ? 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}'
      : `HTTP/1.1 404 Not Found\r\nContent-Length: ${lie.length}\r\n\r\n${lie}`,
  )
  const repository = makeClient().repository(host, 'app')
  for (let i = 0; i < 5; i += 1) expect(await repository.statBlob(digestOf(String(i)))).toBeUndefined()
})
