#!lua
-- Starts the sequence of something new, of which no number was handed out yet.
-- KEYS[1] the sequence     ARGV[1] its time to live in seconds
-- KEYS[2] its lock
-- "unknown" says that it was asked for before it existed. A process that seeds it for such a request
-- loses the lock, as its lookup may be out of date. Returns 1 when the sequence was written.
if redis.call('GET', KEYS[1]) == 'unknown' then
  redis.call('DEL', KEYS[1])
end
if redis.call('SET', KEYS[1], '0', 'NX', 'EX', ARGV[1]) then
  redis.call('DEL', KEYS[2])
  return 1
end
return 0
