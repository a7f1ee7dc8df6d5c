-- Writes a missing sequence, if the caller still holds the lock under which it looked the number up.
--
-- KEYS  1  the sequence
--       2  the lock of that sequence
-- ARGV  1  the lock's token
--       2  highest number stored
--       3  time to live of the sequence in seconds
--
-- Returns 1 when the sequence is there, 0 when the lock was lost: a caller that was frozen for
-- longer than its lock lives may know an old number only, and must look again.

if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'NX', 'EX', ARGV[3])
return 1
