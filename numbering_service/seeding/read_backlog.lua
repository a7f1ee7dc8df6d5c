#!lua flags=allow-oom
-- Reads a page of the stream of accepted entries, and returns the highest number of each sequence
-- in it. Bodies, of up to 64 KiB each, do not leave Redis.
--
-- KEYS  1  the stream
-- ARGV  1  the id after which the page begins
--       2  maximum number of entries in a page
--       3  bytes of bodies after which a page ends
--       4  entries to read at once, which bounds by how much a page exceeds its bytes
--
-- Returns {replication id, last-generated-id, entries-added, id of the first entry or '',
--          id up to which the page was read, entries read, sequence, number, …}.
--       A sequence is 'token:' for the chats of an application, 'token:chat' for the messages of a
--       chat. The creation of a chat is also number 0 of its messages.
--
-- It writes nothing, but must not be flagged no-writes: a replica would then run it on a stream
-- that may lag behind. Without the flag a replica refuses it (READONLY).

local position, most, most_bytes, step = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local replication_id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''

-- Errors of XINFO are passed on, so a missing stream is tested for and not inferred from an error.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {replication_id, '0-0', 0, '', '0-0', 0}
end
local info = {}
local flat = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #flat, 2 do
  info[flat[i]] = flat[i + 1]
end

local highest = {}

local function count(sequence, number)
  local known = highest[sequence]
  if not known or number > known then
    highest[sequence] = number
  end
end

-- The token, the chat and the number of an entry, and the size of its body and attributes.
local function read(fields)
  if fields[1] == 'access_token' and fields[3] == 'chat_number' and fields[5] == 'number' then
    return fields[2], fields[4], fields[6], #(fields[8] or '') + #(fields[12] or '')
  end
  local named = {}
  for i = 1, #fields, 2 do
    named[fields[i]] = fields[i + 1]
  end
  return named.access_token, named.chat_number, named.number, #(named.body or '')
end

local entries, bytes, at_end = 0, 0, false
while entries < most and bytes < most_bytes and not at_end do
  local page = redis.call('XRANGE', KEYS[1], '(' .. position, '+', 'COUNT', step)
  for i = 1, #page do
    local token, chat, text, size = read(page[i][2])
    local number = tonumber(text)
    -- Any other entry cannot be stored, and its number is not one that we handed out.
    if token and chat and number and number >= 1 and number < 2^53 then
      count(token .. ':' .. chat, number)
      if chat == '' then
        count(token .. ':' .. string.format('%.0f', number), 0)
      end
    end
    bytes = bytes + size
  end
  if #page > 0 then
    position = page[#page][1]
    entries = entries + #page
  end
  at_end = #page < step
end
if at_end then
  position = info['last-generated-id']
end

local first_entry = info['first-entry']
local reply = {
  replication_id, info['last-generated-id'], info['entries-added'] or 0,
  first_entry and first_entry[1] or '', position, entries,
}
for sequence, number in pairs(highest) do
  reply[#reply + 1] = sequence
  reply[#reply + 1] = number
end
return reply
