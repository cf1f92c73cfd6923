-- The fixed and the sliding window: the number of the window, what was used of it, and of the one before.
-- ARGV: period (microseconds), limit, cost, and how much the window before counts: "0" or "1".
-- Returns whether it may go ahead, both uses, and how far into the window it is.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1700000000) * 1000000 + tonumber(time[2])
local period, limit, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local window = math.floor(now / period)
local kept = redis.call('HMGET', KEYS[1], 'window', 'current', 'previous')
local at, current, previous = tonumber(kept[1] or '-9'), tonumber(kept[2] or '0'), tonumber(kept[3] or '0')
if at ~= window then
  previous = (at == window - 1) and current or 0
  current = 0
end
local into = now - window * period
local carried = tonumber(ARGV[4]) * previous * (period - into) / period
if current + carried + cost > limit then
  return { 0, current, previous, math.floor(into) }
end
if cost > 0 then
  current = current + cost
  redis.call('HSET', KEYS[1], 'window', string.format('%.0f', window), 'current', current, 'previous', previous)
  redis.call('PEXPIRE', KEYS[1], math.ceil(2 * period / 1000) + 1)
end
return { 1, current, previous, math.floor(into) }
