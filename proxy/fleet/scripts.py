"""The server's part of the log, in Lua: one script to append, one to poll (R1), one to look. No Python here.

KEYS: the stream, the hash of registrations; both in one slot of a cluster. A record's fields: `n` and `e`
number and nonce of its epoch, `p` id of its predecessor, `m` the server's `master_replid`, `u` uid, `t` text.
"""

from __future__ import annotations

_TAIL = """
local log, replicas = KEYS[1], KEYS[2]

local function fields_of(entry)
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  return fields
end

local tail, newest = '0-0', {}
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
if last then tail, newest = last[1], fields_of(last) end
"""
"""First lines of all scripts."""

_EPOCH = (
    _TAIL
    + """
local master = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
if not master then return redis.error_reply('INFO replication names no master_replid') end
local number, nonce = tonumber(newest.n) or 0, newest.e

local has_added = false
local function add(uid, text)
  has_added = true
  tail = redis.call('XADD', log, '*', 'n', string.format('%.0f', number), 'e', nonce, 'p', tail,
    'm', master, 'u', uid, 't', text)
  return {tail, string.format('%.0f', number), nonce}
end

-- An empty log, or another history of it: a server that was flushed, replaced, promoted or restarted.
if newest.m ~= master or not nonce then
  number, nonce = number + 1, ARGV[1]
  add('', '')
end
"""
)
"""First lines of those that write. ARGV[1]: a nonce in case that an epoch begins."""

APPEND = (
    _EPOCH
    + """
local retention_ms, most, after, wants_roll = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]

local function found(entry)
  local fields = fields_of(entry)
  return fields.u, {entry[1], fields.n, fields.e}
end

local present = {}
if after ~= '' then
  for _, entry in ipairs(redis.call('XRANGE', log, '(' .. after, '+')) do
    local uid, place = found(entry)
    if uid then present[uid] = place end
  end
end

local places = {}
for i = 6, #ARGV, 3 do
  local uid, at, text = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local entry = at ~= '' and redis.call('XRANGE', log, at, at)[1]
  if entry and not present[uid] then
    local there, place = found(entry)
    if there == uid then present[uid] = place end
  end
  if not present[uid] then present[uid] = add(uid, text) end
  places[#places + 1] = present[uid]
end

if has_added then
  -- By age, and never the newest record, which was added just now: an idle log must not begin a new epoch.
  local now = redis.call('TIME')
  local oldest_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) - retention_ms
  if oldest_ms > 0 then redis.call('XTRIM', log, 'MINID', '~', string.format('%.0f-0', oldest_ms)) end
  redis.call('XTRIM', log, 'MAXLEN', '~', most)
end

local roll = {}
if wants_roll == '1' then
  -- A write that changes nothing: a deposed master, which refuses it, must not say who has applied what.
  redis.call('HDEL', replicas, '')
  roll = redis.call('HGETALL', replicas)
end
return {places, roll, redis.call('HLEN', replicas), {tail, string.format('%.0f', number), nonce}}
"""
)
"""ARGV: nonce, retention in ms, most records, `after` or '', roll call 0/1; then uid, `at` or '', text."""

POLL = (
    _EPOCH
    + """
local name, registration, from = ARGV[2], ARGV[3], ARGV[4]
local most_records, most_bytes = ARGV[5], tonumber(ARGV[6])

local now = redis.call('TIME')
local now_ms = string.format('%.0f', tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000))

-- A full server refuses to write, yet can be read: a replica that is known goes on, its position stays old.
local saved = redis.pcall('HSET', replicas, name, registration .. ' ' .. now_ms)
if type(saved) == 'table' and saved.err then
  local is_full = string.find(saved.err, 'OOM', 1, true)
  if not is_full or redis.call('HEXISTS', replicas, name) == 0 then return saved end
end

local page, bytes = {}, 0
for _, entry in ipairs(redis.call('XRANGE', log, from, '+', 'COUNT', most_records)) do
  for _, value in ipairs(entry[2]) do bytes = bytes + #value end
  if #page > 0 and bytes > most_bytes then break end
  page[#page + 1] = entry
end

return {page, {tail, string.format('%.0f', number), nonce}, now_ms, redis.call('HLEN', replicas)}
"""
)
"""ARGV: nonce, our name, our registration, first id, most records, most bytes."""

SURVEY = (
    _TAIL
    + """
local most = ARGV[1]

-- Who has not read yet lacks all of it, and needs no count.
local roll = redis.call('HGETALL', replicas)
local oldest_ms, oldest_seq
for i = 2, #roll, 2 do
  local ms, seq = string.match(roll[i], '^%d+ %x+ (%d+) (%d+) ')
  local is_older = ms and ms ~= '0' and (not oldest_ms or tonumber(ms) < tonumber(oldest_ms)
    or tonumber(ms) == tonumber(oldest_ms) and tonumber(seq) < tonumber(oldest_seq))
  if is_older then oldest_ms, oldest_seq = ms, seq end
end

-- From the newest record back to the oldest position: where all are up to date this costs nothing.
local ids = {}
if oldest_ms then
  local behind = redis.call('XREVRANGE', log, '+', '(' .. oldest_ms .. '-' .. oldest_seq, 'COUNT', most)
  for i, entry in ipairs(behind) do ids[i] = entry[1] end
end

local place = {}
if newest.n and newest.e then place = {tail, newest.n, newest.e} end
local now = redis.call('TIME')
local now_ms = string.format('%.0f', tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000))
return {ids, place, roll, now_ms}
"""
)
"""ARGV: most ids. Writes nothing: a server that is full, or short of replicas, can still be looked at."""

FORGET = "if redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[2], ARGV[1]) end"
"""ARGV: a name, the registration that it must still have."""
