#!lua flags=allow-oom
-- Writes a missing sequence, if the caller still holds the lock under which it looked the number up,
-- and releases the lock.
--
-- KEYS  1  the sequence
--       2  the lock of that sequence
-- ARGV  1  the lock's token
--       2  highest number handed out, 'unknown', or '' to write nothing
--       3  time to live of the sequence in milliseconds
--       4  replication id of the server whose stream was read, '' to write whichever that was
--
-- Returns 0 when the lock was lost: a caller that was suspended for longer than its lock's time to
-- live may hold a stale number, and must start over. So must one that read the stream of another
-- server, such as a former primary that is still alive.

if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
if ARGV[4] ~= '' then
  local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
  if id ~= ARGV[4] then
    return 0
  end
end
redis.call('DEL', KEYS[2])
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3])
end
return 1
