redis-cli XADD log '*' data hello          # any server appends
redis-cli XRANGE log "$LAST" + COUNT 100   # the event of that id, if it is there, and what follows
redis-cli XREAD BLOCK 0 STREAMS log "$LAST" # what follows; waits, if there is nothing
