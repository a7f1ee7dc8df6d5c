-- Numbers batches of creations and puts their entries into the streams, in one atomic step.
--
-- What does not differ between calls stands in front of this text as local variables (numbers.py):
-- MAX_BACKLOG      maximum number of entries in the stream
-- SEQUENCE_TTL, IDEMPOTENCY_TTL, BATCH_TTL
--                  time to live, in seconds, of a sequence, an idempotency key, a batch's answer
-- WAKE_UP_TTL      time to live, in milliseconds, of the wake-up flag
-- DEFAULT_RATE, DEFAULT_BURST
--                  the limit of all other applications: creations a second (0: none), and burst
-- and names of keys, without the tag:
-- LEASE            the persister's lease: while it is held, no wake-up is needed
-- WAKE_UP          the flag that a wake-up is on its way
-- LIMITS           hash of the limits that applications have of their own: '<rate> <burst>' by token
-- LIMITER          prefix of the keys of the limiter, which end with the application's token
--
-- A call has a batch of one shard, or, on a server that has all shards, of several: each is numbered
-- as if it came alone. With several shards all keys begin with the tag of one, and what is '' below
-- is the tag of the batch's shard.
-- KEYS  for each batch, the hash of limits of its shard;
--       then, for each batch:
--       +1         the stream of accepted entries
--       +2         where this batch's answer is stored, for a retry of the same batch
--       then the sequences and the idempotency keys of its creations, each once
-- ARGV  each batch, as JSON: packing as many arguments takes the caller more than twice as long.
--       It is an array of the number of its keys, whether it was sent before, or replicas are to
--       acknowledge it, and two arrays. The first one has three elements for each chat and message
--       with attributes:
--       +1         its position in the batch, 1 for the first
--       +2         its attributes
--       +3         number of the message that it replies to, '' if it is no reply
--       The second one has seven elements for each creation:
--       +1         which of the batch's keys is the sequence: highest number handed out
--       +2         which one is the idempotency key, 0 for none
--       +3         access token
--       +4         chat number, '' when a chat is created
--       +5         body, '' when a chat is created
--       +6         request id
--       +7         digest of the payload, compared when an idempotency key is repeated;
--                  when a chat is created: prefix of the keys of its application's message sequences
--       Further messages that are created with one, all or none, have 0 for both keys, and a body.
--
-- Returns for each batch {wake, last, oldest, answer, answer, …}. wake is 1 when the caller must wake
-- the shard's persister, last the id of this batch's last entry ('' if it has none). Every entry
-- before oldest is stored: it is the oldest one in the stream, or the highest possible id if that is
-- empty ('' when entries wait and no persister is running, or when this batch was answered before).
-- A batch of no creations asks for this alone. An answer:
--       n > 0      the number handed out, of several messages the first of theirs
--       "n"        the number handed out before under the same idempotency key (a string)
--        0         the sequence is missing and must be seeded; nothing was done
--       -1         the idempotency key was used with another payload
--       -2         the stream is full; nothing was done
--       -3         the entry was refused (a key of another type, or a sequence from which no number follows);
--                  nothing was done
--       -4         crud_service has no such application or chat (the sequence is 'unknown', or the
--                  application was deleted, or its token rotated)
--       -5         it replies to a number that was not handed out; nothing was done
--       -6         the chat was deleted
--       -7         the application or the chat is being deleted: this will be known in a moment
--       -8         the entry was refused, as Redis is out of memory; nothing was done
--       -1000 - i  a bulk's message at i, from 0, replies to a number that was not handed out before it
--       -10        the application's limit does not allow it now; nothing was done
--       {answer, rate, burst, microseconds until the limiter has forgotten all that was let
--       through, microseconds until the same would be let through}
--                  the limiter was asked: the answer is a number handed out, or -10
-- or, instead of all this, the error READONLY: this server is a replica; nothing was done.
--
-- A script that fails halfway keeps its writes. So the commands that can fail, GET and XADD, run
-- through pcall, before anything else of their creation is written; a batch's sequences advance once,
-- after all of its entries. The server decides whether it is out of memory before the script starts,
-- so the commands that follow a successful XADD cannot be refused for lack of memory, nor for the
-- stream's type: of several messages, either the first is refused or all of them are added.

local function failed(reply)
  return type(reply) == 'table' and reply.err ~= nil
end

local function is_readonly(reply)
  return failed(reply) and string.find(reply.err, 'READONLY', 1, true) ~= nil
end

local READONLY = 'READONLY This server is a replica.'
local BEYOND_ALL = '18446744073709551615-18446744073709551615'
local WAKE, LAST, OLDEST = 1, 2, 3

local BAD_REPLY_IN_BULK = -1000
local MISSING, LIMITED = 0, -10
local REFUSED, UNKNOWN, BAD_REPLY, CHAT_DELETED, DELETING, OUT_OF_MEMORY = -3, -4, -5, -6, -7, -8
-- What a sequence may hold in place of the highest number handed out (keys.py).
local ANSWERS = {unknown = UNKNOWN, deleted = CHAT_DELETED, deleting = DELETING}

local LARGEST_BULK = 500
local LARGEST_NUMBER = 2^53 - 1 -- of those that a double tells from the next
local ELEMENTS = 7

-- Of the whole call; `to_store` has answers that are stored at its end, by key.
local batches = #ARGV
local replies, to_store = {}, {}
local refused_applications, highest = {}, {}
local has_accepted, refused_by_replica = false, false
local has_own = redis.call('EXISTS', unpack(KEYS, 1, batches)) > 0
local limits, now, limit_of, admit, with_limit

-- Of the batch that is being numbered: the tag of its shard, what was read at once, and its first
-- sequence.
local NO_KEY, known, first_sequence

-- Rate limits by GCRA (ITU-T I.371 Annex A, in its form as a "virtual scheduling algorithm"): one
-- number for each application, the theoretical arrival time at which it will have paid off all that
-- was let through. Each creation moves it on by 1 / rate; one that would move it further than
-- burst / rate ahead of now is refused, and moves nothing. What costs more than the burst by itself
-- is let through once everything is paid off. All times are microseconds. Calculations use the
-- distance from now, as sums of times since 1970 would be rounded to quarters of a microsecond.
if DEFAULT_RATE > 0 or has_own then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
  limits = {}

  -- The limit of an application, or false.
  limit_of = function(token)
    local limit = limits[token]
    if limit ~= nil then
      return limit
    end
    local rate, burst = DEFAULT_RATE, DEFAULT_BURST
    local own = has_own and redis.pcall('HGET', NO_KEY .. LIMITS, token)
    if type(own) == 'string' then
      rate, burst = string.match(own, '^(%d+) (%d+)$')
      rate, burst = tonumber(rate) or DEFAULT_RATE, tonumber(burst) or DEFAULT_BURST
    end
    limit = rate > 0 and {rate = rate, burst = burst, interval = 1000000 / rate, key = NO_KEY .. LIMITER .. token}
    limits[token] = limit
    if limit then
      local stored = redis.pcall('GET', limit.key)
      limit.ahead = math.max(0, (type(stored) == 'string' and tonumber(stored) or 0) - now)
      -- Further than creations can bring it: the clock was set back, or the limit was raised.
      if limit.ahead > (burst + LARGEST_BULK) * limit.interval then
        limit.ahead, limit.moved = burst * limit.interval, true
      end
    end
    return limit
  end

  -- How far ahead the limiter is after a creation; or nil, and how long to wait for it.
  admit = function(limit, cost)
    local most = math.max(limit.burst, cost) * limit.interval
    local ahead = limit.ahead + cost * limit.interval
    -- Less than a microsecond is what rounding made of nothing.
    if ahead - most >= 1 then
      return nil, ahead - most
    end
    return ahead
  end

  with_limit = function(answer, limit, wait)
    return {answer, limit.rate, limit.burst, math.ceil(limit.ahead), math.ceil(wait)}
  end
end

-- Starts a new chat's message sequence, so that messages can follow at once, even if the chat was
-- requested just before it existed. A process that is seeding this sequence has not seen the chat,
-- and loses the lock (keys.seed_lock). The chat's entry is in the stream: a user of Redis that may not
-- delete must not end the script before its number is written.
local function start_messages(key)
  if key == first_sequence then
    first_sequence = nil -- what was read of it is out of date
  end
  local condition = redis.pcall('GET', key) == 'unknown' and 'XX' or 'NX'
  if redis.call('SET', key, '0', condition, 'EX', SEQUENCE_TTL) then
    redis.pcall('DEL', 'lock:' .. key)
  end
end

-- The answer to a request with a repeated idempotency key, false for the first request.
local function replay(idempotency_key, digest, chat)
  -- A deleted chat repeats no answers. Without an idempotency key, its sequence is read later.
  local state = chat and redis.pcall('GET', chat)
  if state == 'deleted' then
    return CHAT_DELETED
  elseif state == 'deleting' then
    return DELETING
  end
  local first = redis.pcall('GET', idempotency_key)
  if not first then
    return false
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

local before = batches
for b = 1, batches do
  local stream, batch_key = KEYS[before + 1], KEYS[before + 2]
  local key_count, is_again, with_attributes, creations = unpack(cjson.decode(ARGV[b]))

  -- By position in the batch; nil when none of it has any, as is usual.
  local attributes_at, refuse_reply
  if with_attributes[1] then
    local reply_to_at = {}
    attributes_at = {}
    for i = 1, #with_attributes, 3 do
      local position, text, reply_to = unpack(with_attributes, i, i + 2)
      attributes_at[position], reply_to_at[position] = text, tonumber(reply_to)
    end

    -- The answer if one of `count` messages replies to a number that was not handed out before it.
    refuse_reply = function(position, count, last)
      for i = 0, count - 1 do
        local earlier = reply_to_at[position + i]
        if earlier and earlier > last + i then
          return count == 1 and BAD_REPLY or BAD_REPLY_IN_BULK - i
        end
      end
    end
  end

  -- What every batch reads, and the two sequences of its first creation: one command costs less
  -- than four. MGET returns nothing for a key of another type, so GET has the last word on a
  -- missing one.
  NO_KEY = string.match(stream, '^{.-}') or ''
  local APPLICATION = NO_KEY .. 'sequence:chats:'
  local first_application = APPLICATION .. (creations[3] or '')
  first_sequence = creations[1] and KEYS[before + creations[1]] or first_application
  known = redis.call('MGET', batch_key, NO_KEY .. LEASE, first_application, first_sequence)
  local answered, is_persisting = known[1], known[2]
  local waiting = redis.pcall('XLEN', stream)
  -- Of a key of another type, XADD will say so.
  local room = failed(waiting) and MAX_BACKLOG or MAX_BACKLOG - waiting
  local moved = {}
  local accepted = 0
  local first_accepted, last_accepted
  local answers = {0, '', ''}
  if answered then
    answers = cmsgpack.unpack(answered)
    creations = {}
  end

  -- Creates a chat, a message or `count` messages at a time. Whatever is wrong with them settles the
  -- answer, and the steps after it are skipped. What all creations need is not in functions: each
  -- call makes those anew, and each variable that one shares adds 0.25 % to a call with one.
  local position, c = 1, 1
  while creations[c] do
    local sequence, idempotency, token, chat_number, body, request_id, extra = unpack(creations, c, c + ELEMENTS - 1)
    local sequence_key, idempotency_key = KEYS[before + sequence], KEYS[before + idempotency]
    local is_chat = chat_number == ''
    local attributes, digest, limit, ahead, last
    local count = 1
    while creations[c + ELEMENTS * count] == 0 do
      count = count + 1
    end

    -- The answer to every creation under a token that is not valid any more, or of an application
    -- that is being deleted. The sequence of the application's chats says so (keys.py).
    local answer = refused_applications[token]
    if answer == nil then
      local application = APPLICATION .. token
      local state = application == first_application and known[3] or redis.pcall('GET', application)
      answer = state == 'deleted' and UNKNOWN or state == 'deleting' and DELETING
      refused_applications[token] = answer
    end
    if attributes_at then
      attributes = attributes_at[position]
    end
    if not answer and idempotency > 0 then
      digest = is_chat and (attributes and redis.sha1hex(attributes) or '-') or extra
      answer = replay(idempotency_key, digest, not is_chat and sequence_key)
    end
    if not answer and room < accepted + count then
      answer = -2
    end
    if not answer then
      last = highest[sequence_key]
      if not last then
        local state = sequence_key == first_sequence and known[4] or redis.pcall('GET', sequence_key)
        last = tonumber(state)
        -- From what another hand wrote, such as "inf" or -7, it would go on with no number.
        if last and not (last >= 0 and last < LARGEST_NUMBER) then
          last = nil
        end
        highest[sequence_key] = last
        answer = not last and (state and (ANSWERS[state] or REFUSED) or MISSING)
      end
    end
    if not answer and attributes_at then
      answer = refuse_reply(position, count, last)
    end
    if not answer and limit_of then
      limit = limit_of(token)
      if limit then
        local wait
        ahead, wait = admit(limit, count)
        answer = wait and with_limit(LIMITED, limit, wait)
      end
    end

    if not answer then
      local number = last + 1
      local text = string.format('%d', number)
      local newest = text
      for i = 0, count - 1 do
        local added
        if i > 0 then
          newest, body = string.format('%d', number + i), creations[c + ELEMENTS * i + 4]
          attributes = attributes_at and attributes_at[position + i]
        end
        if attributes then
          added = redis.pcall('XADD', stream, '*', 'access_token', token, 'chat_number', chat_number,
                              'number', newest, 'body', body, 'request_id', request_id,
                              'attributes', attributes)
        else
          added = redis.pcall('XADD', stream, '*', 'access_token', token, 'chat_number', chat_number,
                              'number', newest, 'body', body, 'request_id', request_id)
        end
        if i == 0 and failed(added) then
          refused_by_replica = is_readonly(added)
          answer = string.find(added.err, 'OOM', 1, true) and OUT_OF_MEMORY or REFUSED
          break
        end
        last_accepted = added
        first_accepted = first_accepted or added
      end
      if not answer then
        answer = number
        accepted = accepted + count
        highest[sequence_key], moved[sequence_key] = last + count, newest
        if is_chat then
          start_messages(extra .. text)
        end
        if digest then
          redis.call('SET', idempotency_key, digest .. ' ' .. text, 'EX', IDEMPOTENCY_TTL)
        end
        if limit then
          limit.ahead, limit.moved = ahead, true
          answer = with_limit(number, limit, 0)
        end
      end
    end
    answers[#answers + 1] = answer
    c, position = c + ELEMENTS * count, position + count
  end

  for key, text in pairs(moved) do
    redis.call('SET', key, text, 'EX', SEQUENCE_TTL)
  end
  if accepted > 0 then
    has_accepted = true
    answers[LAST] = last_accepted
  end
  -- A retried batch stores its answer even if it accepted nothing: the first call may still wait in
  -- the buffer of a lost connection, and must not accept later what is refused now. Answers that
  -- replicas are to acknowledge have to be a write as well: they may tell what was accepted a moment
  -- ago.
  if accepted > 0 then
    redis.pcall('SET', batch_key, cmsgpack.pack(answers), 'EX', BATCH_TTL)
  elseif answered or is_again then
    to_store[batch_key] = answered or cmsgpack.pack(answers)
  end
  -- The rest is not stored: a retry must not wake a persister again; for a lost wake-up there is
  -- the worker's sweep.
  if not answered and not failed(waiting) then
    if waiting == 0 then
      answers[OLDEST] = first_accepted or BEYOND_ALL
    elseif is_persisting then
      answers[OLDEST] = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1]
    end
  end
  if not is_persisting and accepted > 0 and redis.call('SET', NO_KEY .. WAKE_UP, '1', 'NX', 'PX', WAKE_UP_TTL) then
    answers[WAKE] = 1
  end
  replies[b] = answers
  before = before + key_count
end

-- A replica's data may be stale, so answers that need no write must not come from it either.
-- PERSIST is a write that changes nothing here. It must not run before the entries of all shards
-- are added, since the first write of a script is the one that is checked against the memory limit.
if not has_accepted and (refused_by_replica or is_readonly(redis.pcall('PERSIST', KEYS[1]))) then
  return redis.error_reply(READONLY)
end

if limits then
  for _, limit in pairs(limits) do
    if limit and limit.moved then
      local ttl = math.max(1, math.ceil(limit.ahead / 1000))
      redis.pcall('SET', limit.key, string.format('%.2f', now + limit.ahead), 'PX', ttl)
    end
  end
end

-- PERSIST came before if nothing was accepted, so a lack of memory does not refuse this.
for key, answers in pairs(to_store) do
  redis.pcall('SET', key, answers, 'EX', BATCH_TTL)
end
return replies
