#!lua flags=allow-oom
-- Gives a lease back, unless it has passed to somebody else meanwhile.
-- KEYS[1] the lease        ARGV[1] the caller, as it took the lease
-- Returns 1 when it was the caller's, else 0.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
