-- The state of one limit, in one hash. Times are in microseconds. All but seen and paused are by the limit's own
-- clock, which is the server's less offset: it stands still during a pause, and never goes back.
--
--   limit   what the ring is made for; who asks for another limit is told so
--   born    when the state was made: the name of this life of the key
--   seen    the server's time at the last write
--   offset  of the limit's clock from the server's
--   paused  the server's time at which the pause ends
--   floor   no slot before
--   last    the latest slot that was handed out
--   due     the bucket: when it would be full, had all slots been evenly apart
--   seq     how many slots were handed out
--   0..n-1  the latest n slots: number i is in field i % n
--   free    future slots that were given back, earliest first, 16 digits each

-- Redis 6 replicates the script instead of what it does, unless told; then TIME would be another one on a replica.
if redis.replicate_commands then redis.replicate_commands() end

local key = KEYS[1]
local op, limit = ARGV[1], ARGV[2]
local n, window, interval, tolerance = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local pause, silence = tonumber(ARGV[7]), tonumber(ARGV[8])        -- what the caller has to tell
local life, number, slot = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]) -- its latest grant, or zeros
local budget = tonumber(ARGV[12])                                  -- how long it can wait

local granted, refused, conflict = 0, 1, 2
local digits, most_free = 16, 1024

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local names = {'born', 'seen', 'offset', 'paused', 'floor', 'last', 'due', 'seq'}
local found = redis.call('HMGET', key, 'limit', 'free', unpack(names))
local free, s = found[2] or '', {}
local changed = false
for i, name in ipairs(names) do s[name] = tonumber(found[i + 2] or 0) end
if not found[1] then
  s.born, s.seen = now, now
elseif found[1] ~= limit then
  return {conflict, 0, 0, 0, 0, 0, found[1]}
end

if now < s.seen then -- the server's clock was set back: ours goes on from where it was seen
  s.offset, s.paused, changed = s.offset - (s.seen - now), s.paused - (s.seen - now), true
end
local function clock() return math.max(now, s.paused) - s.offset end
local function text(x) return string.format('%.0f', x) end -- tostring would round it to 14 digits

local function save(...)
  local fields = {'limit', limit, 'free', free, ...}
  s.seen = now
  for _, name in ipairs(names) do
    fields[#fields + 1] = name
    fields[#fields + 1] = text(s[name])
  end
  redis.call('HSET', key, unpack(fields))
  local full = math.max(s.last + window, s.floor, s.due) - clock() -- until it is as if there were no state
  redis.call('PEXPIRE', key, text(math.ceil((math.max(full, 0) + math.max(s.paused - now, 0)) / 1000) + 1))
end

local until_ = now + pause
if pause > 0 and until_ > s.paused then
  s.offset = s.offset + until_ - math.max(s.paused, now)
  s.paused, changed = until_, true
end
local v = clock()
local paused_for = math.max(s.paused - now, 0)

if silence > 0 then s.floor, changed = math.max(s.floor, v + silence), true end

-- The caller was granted something lately in a life of the key that this is not, or that has lost its end: data were
-- lost. What was granted then has left the window one window after this life began.
local lost = life > 0 and (life ~= s.born or number > s.seq)
if lost then
  if life == s.born then s.born, free = v, '' end
  s.floor, changed = math.max(s.floor, s.born + window), true
end

if op == 'tell' then
  if changed then save() end
  return {granted, 0, 0, 0, s.born, s.seq, ''}
end

-- release keeps a future slot for the next who asks.
local function release(slot)
  if slot <= v or #free >= digits * most_free then return end
  local entry = string.format('%0' .. digits .. '.0f', slot)
  local low, high = 0, #free / digits -- of the entries, those before low are earlier, those from high on are not
  while low < high do
    local middle = math.floor((low + high) / 2)
    if free:sub(middle * digits + 1, (middle + 1) * digits) < entry then low = middle + 1 else high = middle end
  end
  free, changed = free:sub(1, low * digits) .. entry .. free:sub(low * digits + 1), true
end

if op == 'give' then
  if not lost then release(slot) end
  if changed then save() end
  return {granted, 0, 0, 0, s.born, s.seq, ''}
end

-- A slot that the caller holds: it may start, or has to wait on since there was a pause. One that it is too late for is
-- lost, it gets another.
if slot > 0 and not lost and v - slot <= tolerance then
  local wait = math.max(slot - v, 0) + paused_for
  local result = granted
  if wait > budget then
    result = refused
    release(slot)
  end
  if changed then save() end
  return {result, wait, slot, math.max(v - slot, 0), s.born, number, ''}
end

while #free > 0 and tonumber(free:sub(1, digits)) < v do free = free:sub(digits + 1) end

local earliest
if #free > 0 and tonumber(free:sub(1, digits)) >= s.floor then
  earliest = tonumber(free:sub(1, digits))
else
  local oldest = tonumber(redis.call('HGET', key, text(s.seq % n)) or 0)
  earliest = math.ceil(math.max(v, s.floor, s.last, oldest + window, s.due - (n - 1) * interval))
end
local wait = earliest - v + paused_for
if wait > budget then
  if changed then save() end
  return {refused, wait, 0, 0, s.born, s.seq, ''}
end
if #free > 0 and earliest == tonumber(free:sub(1, digits)) then
  free = free:sub(digits + 1)
  save()
else
  local field = text(s.seq % n)
  s.seq, s.last, s.due = s.seq + 1, earliest, math.max(s.due, earliest) + interval
  save(field, text(earliest))
end
return {granted, wait, earliest, 0, s.born, s.seq, ''}
