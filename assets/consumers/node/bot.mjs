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
// Each id with its work, which may still run: a repetition waits for it rather than beginning it once more.
const seen = new Map()

/** Does the work of an event, once. */
function once(event, id) {
  if (!id) return handle(event, id)
  const known = seen.get(id)
  if (known) return known
  const work = handle(event, id)
  seen.set(id, work)
  if (seen.size > REMEMBERED) seen.delete(seen.keys().next().value)
  // What failed is done anew when it comes again.
  work.catch(() => seen.delete(id))
  return work
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
    if (typeof event.payload.t !== 'string') throw new TypeError('no type')
  } catch {
    return 400 // It will never be readable: the agent gives this one up and logs it.
  }
  try {
    await once(event, request.headers['x-pilothouse-id'])
  } catch (error) {
    console.error(error)
    return 500 // The agent sends it again; until then the events of its guild wait.
  }
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
