#!lua
-- Marks the sequence of something that is being deleted, or was deleted: no number of it is handed out.
-- KEYS[1] the sequence     ARGV[1] 'deleting' or 'deleted'
-- KEYS[2] its lock         ARGV[2] time to live of the mark in milliseconds
-- A concurrent seeding loses its lock, as its lookup may be out of date. A deletion is final. The
-- number that is overwritten is in the stream or the tables, from which it can be seeded again.
if ARGV[1] == 'deleting' and redis.call('GET', KEYS[1]) == 'deleted' then
  return 0
end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
