-- Weighs all claims of a request: passes all of them, or takes nothing.
--
-- KEYS[i] is the counter of claim i. ARGV is the name of the request among places in flight, how many milliseconds its
-- places are good, and six values for each claim: what it counts, three of its measure, the least and the most to take.
--   r  one capacity drain    a bucket: "until part", as a debt in microseconds and units of less than one
--   q  count start end       a window: "until used", in seconds
--   c  max - -               places in flight: a sorted set of names by the time at which they lapse
-- The reply is whether all passed (2: a window given is not the one that runs now), the clock in seconds, and for each
-- claim what was found (owed - | used until | in flight -) and how much was taken.
local clock = redis.call('TIME')
local second = tonumber(clock[1])
local now = second * 1000000 + tonumber(clock[2])
local whole = function (number) return string.format('%.0f', number) end

local passes, reply, planned, writes = 1, { 1, second }, {}, {}
for i, key in ipairs(KEYS) do
  local at = i * 6 - 3
  local kind = ARGV[at]
  local a, b, c = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local least, most = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local found, beside, room = 0, 0, 0
  if kind == 'r' then
    if planned[key] then
      found = planned[key]
    else
      local kept = redis.call('GET', key)
      local debt, part = string.match(kept or '', '^(%d+) (%d+)$')
      if debt and tonumber(debt) >= now then
        found = (tonumber(debt) - now) * c + math.min(tonumber(part), c - 1)
        if found > b then
          -- The bucket was larger, or the clock has gone back: nobody waits longer than for a whole burst.
          found = b
          redis.call('SET', key, whole(now + math.floor(b / c)) .. ' 0', 'KEEPTTL')
        end
      end
    end
    room = math.floor((b - found) / a)
  elseif kind == 'q' then
    if second < b or second >= c then return { 2, second } end
    beside = c
    if planned[key] then
      found, beside = planned[key][1], planned[key][2]
    else
      local kept = redis.call('GET', key)
      local till, used = string.match(kept or '', '^(%d+) (%d+)$')
      if till and tonumber(till) > second then
        found, beside = tonumber(used), math.min(tonumber(till), c)
      end
    end
    room = a - found
  else
    if not planned[key] then redis.call('ZREMRANGEBYSCORE', key, '-inf', math.floor(now / 1000)) end
    found = planned[key] or redis.call('ZCARD', key)
    room = a - found
  end
  local taken = math.min(room, most)
  if taken < least then
    passes, taken = 0, 0
  elseif kind == 'r' then
    planned[key] = found + taken * a
    local span = math.floor(planned[key] / c)
    writes[#writes + 1] = { 'SET', key, whole(now + span) .. ' ' .. whole(planned[key] - span * c), 'PX',
                            whole(math.floor(span / 1000) + 1000) }
  elseif kind == 'q' then
    planned[key] = { found + taken, beside }
    writes[#writes + 1] = { 'SET', key, whole(beside) .. ' ' .. whole(found + taken), 'PX',
                            whole((beside - second) * 1000 + 1000) }
  else
    planned[key] = found + 1
    writes[#writes + 1] = { 'ZADD', key, whole(math.floor(now / 1000) + tonumber(ARGV[2])), ARGV[1] }
    writes[#writes + 1] = { 'PEXPIRE', key, ARGV[2] }
  end
  reply[#reply + 1] = found
  reply[#reply + 1] = beside
  reply[#reply + 1] = taken
end
if passes == 1 then
  for _, write in ipairs(writes) do redis.call(unpack(write)) end
end
reply[1] = passes
return reply
