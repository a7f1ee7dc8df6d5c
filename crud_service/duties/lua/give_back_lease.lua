#!lua flags=allow-oom
-- Gives a lease back, unless it has passed to another worker meanwhile, together
-- with the flag that a wake-up is on its way: the next creation wakes a worker.
-- Looks at what waits once more behind that, since what came while the lease was
-- held has woken nobody.
-- KEYS[1] the lease        ARGV[1] the caller, as it took the lease
--     [2] the flag         ARGV[2] 0, or for how many milliseconds nobody is to be woken
--     [3] what waits       ARGV[3] the command that tells its length
-- Returns 1 when the lease was the caller's and something waits, else 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[2])
else
  redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
end
return redis.call(ARGV[3], KEYS[3]) > 0 and 1 or 0
