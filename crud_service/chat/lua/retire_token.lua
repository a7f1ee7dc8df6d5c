#!lua
-- Has numbers.lua refuse every creation of an access token from now on.
--
-- KEYS  1  the sequence of the application's chats
--       2  its lock: a process that is seeding it has seen an older state, and must not write it
--       3  the stream of accepted entries
-- ARGV  1  time to live in seconds: at least that of any sequence
--
-- Returns {1 if this was not so before, else 0; the stream's last id; its first entry's id or ''}. No
-- entry of this token will follow the last id. The first entry is read here, as another call may
-- meet another server.

local before = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], 'deleted', 'EX', ARGV[1])
redis.call('DEL', KEYS[2])
local last, first = '0-0', ''
if redis.call('EXISTS', KEYS[3]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[3])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      last = info[i + 1]
    elseif info[i] == 'first-entry' and info[i + 1] then
      first = info[i + 1][1]
    end
  end
end
return {before == 'deleted' and 0 or 1, last, first}
