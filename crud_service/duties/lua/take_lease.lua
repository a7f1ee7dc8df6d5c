#!lua flags=allow-oom
-- Takes a lease, or keeps it for longer when the caller holds it.
-- A plain SET would be refused when Redis is out of memory, and with it the
-- only process that could make room again: hence the flag above.
-- KEYS[1] the lease        ARGV[1] the caller, a random value
--                          ARGV[2] how long it is to last, in milliseconds
-- Returns 1 when the caller holds the lease now, else 0.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
