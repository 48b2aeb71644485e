-- Serves a batch of requests for the slots of one limit. A slot is a time at which a request may start. The state is one hash. All times are in
-- microseconds. seen and paused are times of the server's clock. All other times are of the limit's clock: the server's
-- clock minus offset. The limit's clock stands still during a pause and never goes back. Fields of the hash:
--
--   limit   the limit that the state belongs to; a caller with another limit gets a conflict
--   born    when the state was created; it identifies this generation of the state
--   seen    when the state was last written
--   offset  the server's clock minus the limit's clock
--   paused  when the current pause ends
--   floor   no slot is before this time
--   last    the latest slot that was granted
--   due     when the token bucket is full again
--   seq     the number of slots that were granted
--   0..n-1  the latest n slots: slot number i is in the field i % n
--   free    future slots that were released, earliest first, 16 digits each

-- Redis 6 can be configured to replicate the script instead of its effects. TIME would then differ on a replica.
if redis.replicate_commands then redis.replicate_commands() end

local key, limit = KEYS[1], ARGV[1]
local n, window, interval, tolerance = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local pause = tonumber(ARGV[6]) -- how long the caller wants a pause to last from now on, or 0
local known = {tonumber(ARGV[7]), tonumber(ARGV[8])} -- generation and number of the caller's latest grant, or zeros
local repeated = ARGV[9] == '1' -- the call was sent before, and may have taken effect
local first_request = 10 -- four arguments for each request; see serve

local digits, max_free = 16, 1024

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
  return {err = 'LIMIT ' .. found[1]}
end

if now < s.seen then -- the server's clock was set back: the limit's clock continues from its time at the last write
  s.offset, s.paused, changed = s.offset - (s.seen - now), s.paused - (s.seen - now), true
end
local until_ = now + pause
if pause > 0 and until_ > s.paused then
  s.offset = s.offset + until_ - math.max(s.paused, now)
  s.paused, changed = until_, true
end
local v = math.max(now, s.paused) - s.offset -- the limit's clock
local paused_for = math.max(s.paused - now, 0)

local function text(x) return string.format('%.0f', x) end -- tostring rounds to 14 digits

local function save()
  local fields = {'limit', limit, 'free', free}
  s.seen = now
  for _, name in ipairs(names) do
    fields[#fields + 1] = name
    fields[#fields + 1] = text(s[name])
  end
  redis.call('HSET', key, unpack(fields))
  -- How long the state still has an effect. Callers report a grant until a window after its slot, and their calls can
  -- take a while: a key that had expired by then would look like a loss of data.
  local effective = math.max(s.last + window + 2 * tolerance, s.floor, s.due) - v
  redis.call('PEXPIRE', key, text(math.ceil((math.max(effective, 0) + paused_for) / 1000) + 1))
end

-- lost reports whether the grant is from another generation of the state, or has a number that this state has not
-- reached: data were lost. One window after this generation began, the lost grants no longer count.
local function lost(generation, number)
  if generation == 0 or generation == s.born and number <= s.seq then return false end
  if generation == s.born then s.born, free = v, '' end
  s.floor, changed = math.max(s.floor, s.born + window), true
  return true
end

-- release keeps a future slot for the next caller. A repeated call releases nothing, because the first may have: the slot
-- would be granted twice.
local function release(slot)
  if repeated or slot <= v or #free >= digits * max_free then return end
  local entry = string.format('%0' .. digits .. '.0f', slot)
  local low, high = 0, #free / digits -- entries before low are earlier than slot, entries from high on are not
  while low < high do
    local middle = math.floor((low + high) / 2)
    if free:sub(middle * digits + 1, (middle + 1) * digits) < entry then low = middle + 1 else high = middle end
  end
  free, changed = free:sub(1, low * digits) .. entry .. free:sub(low * digits + 1), true
end

-- serve confirms the slot that the caller holds, or reserves the next one: if the caller holds none (zeros), is too late
-- for it, or lost it. A caller that cannot wait longer than max_wait gets the slot 0. Only a negative max_wait releases the
-- slot that the caller holds: a repeated call must not confirm a slot that the first has released. Returns the wait, the
-- slot, how late it is, and its number.
local function serve(generation, number, slot, max_wait)
  if slot > 0 and not lost(generation, number) and v - slot <= tolerance then
    local wait = math.max(slot - v, 0) + paused_for
    if max_wait < 0 then release(slot) end
    if wait > max_wait then return wait, 0, 0, 0 end
    return wait, slot, math.max(v - slot, 0), number
  end

  while #free > 0 and tonumber(free:sub(1, digits)) < v do free = free:sub(digits + 1) end
  local released = tonumber(free:sub(1, digits))
  local earliest
  if released and released >= s.floor then
    earliest = released
  else
    local oldest = tonumber(redis.call('HGET', key, text(s.seq % n)) or 0)
    earliest = math.ceil(math.max(v, s.floor, s.last, oldest + window, s.due - (n - 1) * interval))
  end
  local wait = earliest - v + paused_for
  if wait > max_wait then return wait, 0, 0, 0 end
  if earliest == released then
    free = free:sub(digits + 1)
  else
    redis.call('HSET', key, text(s.seq % n), text(earliest))
    s.seq, s.last, s.due = s.seq + 1, earliest, math.max(s.due, earliest) + interval
  end
  changed = true
  return wait, earliest, 0, s.seq
end

lost(unpack(known))
local reply = {}
for i = first_request, #ARGV, 4 do
  local wait, slot, late, number = serve(tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]))
  for _, x in ipairs({wait, slot, late, number, s.born}) do reply[#reply + 1] = x end
end
if changed then save() end
return reply
