#!lua
-- Takes the lock of a missing sequence.
--
-- KEYS  1  the sequence
--       2  its lock
-- ARGV  1  a token that was never used before
--       2  time to live of the lock in milliseconds
--       3… tokens of the caller's earlier attempts, whose outcome it does not know
--
-- Returns 'there' when the sequence exists, 'held' when another caller holds the lock,
--         'taken' when this caller holds it now.
--
-- A former token is replaced and never used again: a late write_sequence.lua that was sent under it
-- finds another token, and cannot write a stale number.

if redis.call('EXISTS', KEYS[1]) == 1 then
  return 'there'
end
local holder = redis.call('GET', KEYS[2])
local ours = not holder
for i = 3, #ARGV do
  ours = ours or holder == ARGV[i]
end
if not ours then
  return 'held'
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 'taken'
