-- Appends an event, unless its idempotency key is known, and returns its ID, or nil if the
-- key is another event's. Redis runs nothing else in between: of two appends that come at
-- once with the same key, one finds the event of the other.
-- ANCHOR: once
local stream, keys, in_order = unpack(KEYS)
local key, keep, type, data = unpack(ARGV)
local function event(id)
    local entry = redis.call('XRANGE', stream, id, id)[1]
    return entry and entry[2]
end

local id = redis.call('HGET', keys, key)
local known = id and event(id)
if known then
    return known[2] == type and known[4] == data and id
end

local new = redis.call(
    'XADD', stream, 'MAXLEN', '~', keep, '*', 'type', type, 'data', data)
redis.call('HSET', keys, key, new)
-- ANCHOR_END: once
redis.call('RPUSH', in_order, new, key)
-- A key is forgotten with its event: here, a hundred of the oldest at most.
for _ = 1, 100 do
    local id, key = unpack(redis.call('LRANGE', in_order, 0, 1))
    if event(id) then break end
    redis.call('LTRIM', in_order, 2, -1)
    if redis.call('HGET', keys, key) == id then redis.call('HDEL', keys, key) end
end
return new
