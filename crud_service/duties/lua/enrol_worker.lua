#!lua flags=allow-oom
-- Counts the workers that persist, the caller among them.
-- KEYS[1] sorted set of workers, by when they are forgotten   ARGV[1] the caller's name
--                                                             ARGV[2] for how many milliseconds
--                                                                     it is remembered: 0 if
--                                                                     others must not count it
--                                                             ARGV[3] the longest that any worker
--                                                                     is remembered; one that would
--                                                                     be for longer is forgotten:
--                                                                     the clock was set back
-- Returns how many there are.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[1], now + ARGV[3] + 1, '+inf')
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return redis.call('ZCARD', KEYS[1]) + 1
end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
