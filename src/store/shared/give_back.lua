-- Takes back what was leased and not spent. ARGV are three values for each of KEYS: `r`, units and units that drain in a
-- microsecond; or `q`, requests and the end of the window that they were leased in.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local whole = function (number) return string.format('%.0f', number) end
for i, key in ipairs(KEYS) do
  local kind, back, with = ARGV[i * 3 - 2], tonumber(ARGV[i * 3 - 1]), tonumber(ARGV[i * 3])
  local first, second = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
  first, second = tonumber(first), tonumber(second)
  if first and kind == 'r' and first >= now then
    local owed = math.max(0, (first - now) * with + second - back)
    local span = math.floor(owed / with)
    redis.call('SET', key, whole(now + span) .. ' ' .. whole(owed - span * with), 'KEEPTTL')
  elseif first and kind == 'q' and first == with then
    redis.call('SET', key, whole(first) .. ' ' .. whole(math.max(0, second - back)), 'KEEPTTL')
  end
end
return #KEYS
