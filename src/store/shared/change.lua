-- Changes keys, all as asked or none.
--
-- KEYS are the hash of keys by id, the hash of ids by digest, what tells that something changed, and how often. ARGV is the most
-- keys, then for each change an id, the key as it was seen ('' for none), the key as it is to be ('' for none), and its
-- digest. The reply is `done`, or why not: `again` (it is no longer as it was seen), `exists`, `full`.
local rows, grows = redis.call('HLEN', KEYS[1]), false
for at = 2, #ARGV, 4 do
  local id, before, after, digest = unpack(ARGV, at, at + 3)
  local kept = redis.call('HGET', KEYS[1], id) or ''
  if before == '' and (kept ~= '' or redis.call('HEXISTS', KEYS[2], digest) == 1) then return 'exists' end
  if before ~= kept then return 'again' end
  if before == '' then rows, grows = rows + 1, true end
  if after == '' then rows = rows - 1 end
end
if grows and rows > tonumber(ARGV[1]) then return 'full' end
for at = 2, #ARGV, 4 do
  local id, before, after, digest = unpack(ARGV, at, at + 3)
  if after == '' then
    redis.call('HDEL', KEYS[1], id)
    redis.call('HDEL', KEYS[2], digest)
  else
    redis.call('HSET', KEYS[1], id, after)
    redis.call('HSET', KEYS[2], digest, id)
  end
end
-- Also after a loss of data it is none that was seen before.
local clock = redis.call('TIME')
redis.call('SET', KEYS[3], clock[1] .. '.' .. clock[2] .. '.' .. redis.call('INCR', KEYS[4]))
return 'done'
