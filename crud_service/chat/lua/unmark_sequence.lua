#!lua
-- Removes the mark 'deleting' of a sequence, which is then seeded.
-- KEYS[1] the sequence
if redis.call('GET', KEYS[1]) == 'deleting' then
  return redis.call('DEL', KEYS[1])
end
return 0
