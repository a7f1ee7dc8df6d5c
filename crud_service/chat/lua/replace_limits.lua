#!lua
-- Replaces limits that nobody else has replaced since they were read.
--
-- KEYS  1   hash of the limits by access token
-- ARGV  then, for each limit, three arguments:
--       +1  access token
--       +2  the limit that was read, '' for none
--       +3  the limit to write, '' to remove it
--
-- Returns how many were replaced.

local replaced = 0
for i = 1, #ARGV, 3 do
  local token, seen, limit = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if (redis.call('HGET', KEYS[1], token) or '') == seen then
    if limit == '' then
      redis.call('HDEL', KEYS[1], token)
    else
      redis.call('HSET', KEYS[1], token, limit)
    end
    replaced = replaced + 1
  end
end
return replaced
