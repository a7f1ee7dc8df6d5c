#!lua flags=allow-oom
-- Renews a lock that the caller still holds.
--
-- KEYS  1  the lock of a sequence
-- ARGV  1  the lock's token
--       2  time to live of the lock in milliseconds
--
-- Returns 0 when the lock was lost.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
