-- Reads the entry with an ID, if it is there, and entries that follow: one at least, and no
-- more than are sent at a time. What is read and not sent would be read again, many times if
-- events are large. Of the entry itself the ID is enough.
local stream = KEYS[1]
local id, most, room = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local page, events, from = {}, 0, id
while true do
    local entries = redis.call('XRANGE', stream, from, '+', 'COUNT', 8)
    for _, entry in ipairs(entries) do
        if entry[1] == id then
            entry[2] = {}
        else
            room = room - 13 - #entry[1] -- as the event is sent
            for _, field in ipairs(entry[2]) do
                local _, lines = field:gsub('\n', '')
                room = room - #field - 6 * lines
            end
            events = events + 1
            if events > most or events > 1 and room < 0 then return page end
        end
        page[#page + 1] = entry
    end
    if #entries < 8 then return page end
    from = '(' .. page[#page][1]
end
