// A bot's side of Pilothouse's `http` sink, to start from: the guide's event handler, without any package.
//
//   AUTHORIZATION=key PORT=8080 node bot.mjs
//
// and the agent with AUTHORIZATION=key EVENT_HANDLER_URLS=http://127.0.0.1:8080/

import { timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'

const { AUTHORIZATION = '', HOST = '127.0.0.1', PORT = '8080' } = process.env

// The agent sends again what it got no answer to, with the same id, so an event can come twice. Keep the last ids; a
// bot that must not act twice even after its own restart keeps them in its database.
const REMEMBERED = 100_000
const seen = new Set()

function remember(id) {
  seen.add(id)
  if (seen.size > REMEMBERED) seen.delete(seen.values().next().value)
}

/** The bot's work. payload is what Discord sent: { op: 0, t, s, d }. */
async function handle({ payload, shardId }, id) {
  console.log(`${payload.t} ${id} shard=${shardId}`)
}

function isAuthorized(request) {
  const given = Buffer.from(request.headers.authorization ?? '')
  const expected = Buffer.from(AUTHORIZATION)
  return given.length === expected.length && timingSafeEqual(given, expected)
}

async function read(request) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function answer(request) {
  // The agent keeps the events and says what to check.
  if (request.method !== 'POST') return 405
  if (!isAuthorized(request)) return 401
  const body = await read(request)
  let event
  try {
    // A snowflake is a string in Discord's JSON: do not turn it into a number.
    event = JSON.parse(body)
  } catch {
    return 400 // It will never be readable: the agent gives this one up and logs it.
  }
  const id = request.headers['x-pilothouse-id']
  if (seen.has(id)) return 204
  try {
    await handle(event, id)
  } catch (error) {
    console.error(error)
    return 500 // The agent sends it again; until then the events of its guild wait.
  }
  remember(id)
  return 204 // Done: the agent forgets it. Answer after the work, or before it if losing an event in a crash is fine.
}

const server = createServer(async (request, response) => {
  const status = await answer(request).catch(() => 500)
  response.writeHead(status).end()
})
// Connections are kept: longer than the agent does, so that it is never the bot that closes one in use.
server.keepAliveTimeout = 60_000
server.listen(Number(PORT), HOST, () => console.log(`listening on http://${HOST}:${server.address().port}/`))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => server.close(() => process.exit(0)))
