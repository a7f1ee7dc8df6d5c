-- Numbers a batch of creations and puts their entries into the stream, in one atomic step.
--
-- KEYS  1          the stream of accepted entries
--       2          where this batch's answer is stored, for a retry of the same batch
--       3          the persister's lease: while it is held, no wake-up is needed
--       4          the flag that a wake-up is on its way
--       5          hash of the limits that applications have of their own: '<rate> <burst>' by token
--       then, for each creation, two keys:
--       +1         the sequence: highest number handed out
--       +2         the idempotency key, or '' for none
--       Further messages that are created with one, all or none, have '' for both.
-- ARGV  1          maximum number of entries in the stream
--       2, 3, 4    time to live, in seconds, of a sequence, an idempotency key, a batch's answer
--       5          time to live, in milliseconds, of the wake-up flag
--       6          1 when this batch was sent before, else 0
--       7, 8       the limit of all other applications: creations a second (0: none), and burst
--       9          prefix of the keys of the limiter, which end with the application's token
--       then, for each creation, five arguments:
--       +1         access token
--       +2         chat number, '' when a chat is created
--       +3         body, '' when a chat is created
--       +4         request id
--       +5         digest of the payload, compared when an idempotency key is repeated;
--                  when a chat is created: prefix of the keys of its application's message sequences
--       A further message has its body alone.
--       then, for each chat or message that has attributes, three arguments:
--       +1         its position in the batch, 1 for the first
--       +2         its attributes
--       +3         number of the message that it replies to, '' if it is no reply
--
-- Returns {wake, last, oldest, answer, answer, …}. wake is 1 when the caller must wake a persister,
-- last the id of this batch's last entry ('' if it has none). Every entry before oldest is stored: it
-- is the oldest one in the stream, or the highest possible id if that is empty ('' when no persister
-- is running, or when this batch was answered before). An answer:
--       n > 0      the number handed out, of several messages the first of theirs
--       "n"        the number handed out before under the same idempotency key (a string)
--        0         the sequence is missing and must be seeded; nothing was done
--       -1         the idempotency key was used with another payload
--       -2         the stream is full; nothing was done
--       -3         the entry was refused (out of memory, or a key of another type); nothing was done
--       -4         crud_service has no such application or chat (the sequence is 'unknown', or the
--                  application was deleted, or its token rotated)
--       -5         it replies to a number that was not handed out; nothing was done
--       -6         the chat was deleted
--       -7         the application or the chat is being deleted: this will be known in a moment
--       -1000 - i  a bulk's message at i, from 0, replies to a number that was not handed out before it
--       -10        the application's limit does not allow it now; nothing was done
--       {answer, rate, burst, microseconds until the limiter has forgotten all that was let
--       through, microseconds until the same would be let through}
--                  the limiter was asked: the answer is a number handed out, or -10
-- or, instead of all this, the error READONLY: this server is a replica; nothing was done.
--
-- A script that fails halfway keeps its writes. So the commands that can fail, GET and XADD, run
-- through pcall, before anything else of their creation is written; sequences advance once, after
-- all entries. The server decides whether it is out of memory before the script starts, so the
-- commands that follow a successful XADD cannot be refused for lack of memory, nor for the stream's
-- type: of several messages, either the first is refused or all of them are added.

local function failed(reply)
  return type(reply) == 'table' and reply.err ~= nil
end

local function is_readonly(reply)
  return failed(reply) and string.find(reply.err, 'READONLY', 1, true) ~= nil
end

-- A replica's data may be stale, so answers that need no write must not come from it either.
-- PERSIST is a write that changes nothing here. It must not run before the entries are added,
-- since the first write of a script is the one that is checked against the memory limit.
local function is_replica()
  return is_readonly(redis.pcall('PERSIST', KEYS[1]))
end

local REPLICA = redis.error_reply('READONLY This server is a replica.')

local answered = redis.call('GET', KEYS[2])
if answered then
  return is_replica() and REPLICA or cmsgpack.unpack(answered)
end

local waiting = redis.call('XLEN', KEYS[1])
local room = tonumber(ARGV[1]) - waiting
local sequence_ttl, idempotency_ttl, batch_ttl = ARGV[2], ARGV[3], ARGV[4]
local highest = {}
local moved = {}
local accepted = 0
local first_accepted
local refused_by_replica = false
local answers = {0, '', ''}
local WAKE, LAST, OLDEST = 1, 2, 3
local BEYOND_ALL = '18446744073709551615-18446744073709551615'

local BAD_REPLY_IN_BULK = -1000
local FIRST_KEY, FIRST_ARGUMENT = 6, 10
local REFUSED, UNKNOWN, BAD_REPLY, CHAT_DELETED, DELETING = -3, -4, -5, -6, -7
local LIMITED = -10

-- Rate limits by GCRA (ITU-T I.371 Annex A, in its form as a "virtual scheduling algorithm"): one
-- number for each application, the theoretical arrival time at which it will have paid off all that
-- was let through. Each creation moves it on by 1 / rate; one that would move it further than
-- burst / rate ahead of now is refused, and moves nothing. What costs more than the burst by itself
-- is let through once everything is paid off. All times are microseconds. Calculations use the
-- distance from now, as sums of times since 1970 would be rounded to quarters of a microsecond.
local DEFAULT_RATE, DEFAULT_BURST, LIMITER = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local LARGEST_BULK = 500
local HAS_OWN = redis.call('EXISTS', KEYS[5]) == 1
local limits = {}
local clock

local attributes_at, reply_to_at = {}, {}
for i = FIRST_ARGUMENT + 5 * (#KEYS - FIRST_KEY + 1) / 2, #ARGV, 3 do
  local position = tonumber(ARGV[i])
  attributes_at[position], reply_to_at[position] = ARGV[i + 1], tonumber(ARGV[i + 2])
end

local function now()
  if not clock then
    local time = redis.call('TIME')
    clock = time[1] * 1000000 + time[2]
  end
  return clock
end

-- The limit of an application, or false.
local function limit_of(token)
  if DEFAULT_RATE == 0 and not HAS_OWN then
    return false
  end
  local known = limits[token]
  if known ~= nil then
    return known
  end
  local rate, burst = DEFAULT_RATE, DEFAULT_BURST
  local own = HAS_OWN and redis.pcall('HGET', KEYS[5], token)
  if type(own) == 'string' then
    rate, burst = string.match(own, '^(%d+) (%d+)$')
    rate, burst = tonumber(rate) or DEFAULT_RATE, tonumber(burst) or DEFAULT_BURST
  end
  known = rate > 0 and {rate = rate, burst = burst, interval = 1000000 / rate, key = LIMITER .. token}
  limits[token] = known
  if known then
    local stored = redis.pcall('GET', known.key)
    known.ahead = math.max(0, (type(stored) == 'string' and tonumber(stored) or 0) - now())
    -- Further than creations can bring it: the clock was set back, or the limit was raised.
    if known.ahead > (burst + LARGEST_BULK) * known.interval then
      known.ahead, known.moved = burst * known.interval, true
    end
  end
  return known
end

-- How far ahead the limiter is after a creation; or nil, and how long to wait for it.
local function admit(limit, cost)
  local most = math.max(limit.burst, cost) * limit.interval
  local ahead = limit.ahead + cost * limit.interval
  -- Less than a microsecond is what rounding made of nothing.
  if ahead - most >= 1 then
    return nil, ahead - most
  end
  return ahead
end

local function with_limit(answer, limit, wait)
  return {answer, limit.rate, limit.burst, math.ceil(limit.ahead), math.ceil(wait)}
end

-- The answer to every creation under a token that is not valid any more, or of an application that
-- is being deleted, else nil. The sequence of the application's chats says so (keys.py).
local refused_applications = {}
local function refuse_application(token)
  local answer = refused_applications[token]
  if answer == nil then
    local state = redis.pcall('GET', 'sequence:chats:' .. token)
    answer = state == 'deleted' and UNKNOWN or state == 'deleting' and DELETING
    refused_applications[token] = answer
  end
  return answer or nil
end

-- The answer to every creation of a message in a chat that was deleted or is being deleted.
local function refuse_chat(key)
  local state = redis.pcall('GET', key)
  return state == 'deleted' and CHAT_DELETED or state == 'deleting' and DELETING or nil
end

-- The highest number handed out; or nil and an answer: 0 when the sequence is missing, -3, -4.
local function read_sequence(key)
  local known = highest[key]
  if known then
    return known
  end
  local stored = redis.pcall('GET', key)
  if not stored then
    return nil, 0
  elseif stored == 'unknown' then
    return nil, UNKNOWN
  elseif stored == 'deleted' then
    return nil, CHAT_DELETED
  elseif stored == 'deleting' then
    return nil, DELETING
  end
  known = not failed(stored) and tonumber(stored)
  if not known then
    return nil, REFUSED
  end
  highest[key] = known
  return known
end

-- Starts a new chat's message sequence, so that messages can follow at once, even if the chat was
-- requested just before it existed. A process that is seeding this sequence has not seen the chat,
-- and loses the lock (keys.seed_lock).
local function start_messages(key)
  if redis.pcall('GET', key) == 'unknown' then
    redis.call('DEL', key)
  end
  if redis.call('SET', key, '0', 'NX', 'EX', sequence_ttl) then
    redis.call('DEL', 'lock:' .. key)
  end
end

-- The answer to a request with a repeated idempotency key, nil for the first request.
local function replay(idempotency_key, digest)
  local first = idempotency_key ~= '' and redis.pcall('GET', idempotency_key)
  if not first then
    return nil
  end
  if failed(first) then
    return REFUSED
  end
  local space = string.find(first, ' ', 1, true)
  if string.sub(first, 1, space - 1) ~= digest then
    return -1
  end
  return string.sub(first, space + 1)
end

-- Adds an entry; returns its id, or an error.
local function add(token, chat_number, number, body, request_id, attributes)
  local added
  if attributes then
    added = redis.pcall('XADD', KEYS[1], '*', 'access_token', token, 'chat_number', chat_number,
                        'number', number, 'body', body, 'request_id', request_id,
                        'attributes', attributes)
  else
    added = redis.pcall('XADD', KEYS[1], '*', 'access_token', token, 'chat_number', chat_number,
                        'number', number, 'body', body, 'request_id', request_id)
  end
  if failed(added) then
    refused_by_replica = is_readonly(added)
    return added
  end
  accepted = accepted + 1
  answers[LAST] = added
  first_accepted = first_accepted or added
  return added
end

-- Creates a chat, a message or `count` messages, the first of them at a position in the batch, with
-- its arguments at `a`.
local function create(position, sequence_key, idempotency_key, count, a)
  local token, chat_number, body, request_id, extra = unpack(ARGV, a, a + 4)
  local is_chat = chat_number == ''
  local attributes, reply_to = attributes_at[position], reply_to_at[position]
  local digest = is_chat and (attributes and redis.sha1hex(attributes) or '-') or extra
  local refusal = refuse_application(token)
  -- Without an idempotency key, the sequence is read below anyway.
  if not refusal and not is_chat and idempotency_key ~= '' then
    refusal = refuse_chat(sequence_key)
  end
  if refusal then
    return refusal
  end
  local before = replay(idempotency_key, digest)
  if before then
    return before
  end
  if room < accepted + count then
    return -2
  end
  local last, instead = read_sequence(sequence_key)
  if not last then
    return instead
  end
  if reply_to and reply_to > last then
    return count == 1 and BAD_REPLY or BAD_REPLY_IN_BULK
  end
  for i = 1, count - 1 do
    local earlier = reply_to_at[position + i]
    if earlier and earlier > last + i then
      return BAD_REPLY_IN_BULK - i
    end
  end
  local limit = limit_of(token)
  local ahead, wait
  if limit then
    ahead, wait = admit(limit, count)
    if not ahead then
      return with_limit(LIMITED, limit, wait)
    end
  end
  local number = last + 1
  local text = string.format('%.0f', number)
  if failed(add(token, chat_number, text, body, request_id, attributes)) then
    return REFUSED
  end
  for i = 1, count - 1 do
    add(token, chat_number, string.format('%.0f', number + i), ARGV[a + 5 * i + 2], request_id,
        attributes_at[position + i])
  end
  highest[sequence_key] = last + count
  moved[sequence_key] = string.format('%.0f', last + count)
  if is_chat then
    start_messages(extra .. text)
  end
  if idempotency_key ~= '' then
    redis.call('SET', idempotency_key, digest .. ' ' .. text, 'EX', idempotency_ttl)
  end
  if limit then
    limit.ahead, limit.moved = ahead, true
    return with_limit(number, limit, 0)
  end
  return number
end

local k, a, position = FIRST_KEY, FIRST_ARGUMENT, 1
while KEYS[k] do
  local count = 1
  while KEYS[k + 2 * count] == '' do
    count = count + 1
  end
  answers[#answers + 1] = create(position, KEYS[k], KEYS[k + 1], count, a)
  k, a, position = k + 2 * count, a + 5 * count, position + count
end

if accepted == 0 and (refused_by_replica or is_replica()) then
  return REPLICA
end

for key, text in pairs(moved) do
  redis.call('SET', key, text, 'EX', sequence_ttl)
end

for _, limit in pairs(limits) do
  if limit and limit.moved then
    local ttl = math.max(1, math.ceil(limit.ahead / 1000))
    redis.pcall('SET', limit.key, string.format('%.2f', now() + limit.ahead), 'PX', ttl)
  end
end

-- A retried call stores its answer even if it accepted nothing: the first call may still wait in
-- the buffer of a lost connection, and must not accept later what is refused now.
if accepted > 0 or ARGV[6] == '1' then
  redis.pcall('SET', KEYS[2], cmsgpack.pack(answers), 'EX', batch_ttl)
end
-- The rest is set after the answer is stored: a retry must not wake a persister again; for a lost
-- wake-up there is the worker's sweep.
if redis.call('EXISTS', KEYS[3]) == 1 then
  if waiting == 0 then
    answers[OLDEST] = first_accepted or BEYOND_ALL
  else
    answers[OLDEST] = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
  end
elseif accepted > 0 and redis.call('SET', KEYS[4], '1', 'NX', 'PX', ARGV[5]) then
  answers[WAKE] = 1
end
return answers
