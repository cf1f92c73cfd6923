-- GCRA and the leaky bucket: one number per key, when it is free again, in microseconds.
-- ARGV: interval, burst (both microseconds), cost, and what to do beyond the burst:
-- "refuse", "queue" (let in whoever waits no longer than a burst), "charge" (always let in).
-- Returns whether it may go ahead, how long it waits before, and how far ahead the key is then.
local time = redis.call('TIME')
-- Seconds since 2023: a double has 53 bits, and parts of a microsecond need some of them.
local now = (tonumber(time[1]) - 1700000000) * 1000000 + tonumber(time[2])
local interval, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local free = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local after = free + cost * interval
-- Sums of thirds: a hundredth of a microsecond is no difference.
local bound = now + burst + 0.01
local wait = 0
if ARGV[4] == 'refuse' and after > bound then
  return { 0, 0, math.ceil(free - now) }
elseif ARGV[4] == 'queue' then
  if free > bound or cost * interval > burst + 0.01 then
    return { 0, 0, math.ceil(free - now) }
  end
  wait = free - now
end
if cost > 0 then
  redis.call('SET', KEYS[1], string.format('%.4f', after), 'PX', math.ceil((after - now) / 1000) + 1)
end
return { 1, math.ceil(wait), math.ceil(after - now) }
