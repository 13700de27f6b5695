"""The changes of a record, each one Lua script that the server runs without interruption.

Every script reads ARGV as: the key, the time in seconds since 1970, the time as text, then its own
arguments, then pairs of field and value. All of them run on one server, not on a Redis cluster: the
sets that a record moves between are known only once its hash has been read.
"""

from __future__ import annotations

from worker.record import TRANSITIONS, State

__all__ = ["EVENTS", "FILE", "NIGHT", "NIGHTS", "PATH", "SCRIPTS"]

#: Hash of a file's record; its key follows.
FILE = "maximask:file:"
#: Set of the keys of a night in a state; `<night>:<state>` follows.
NIGHT = "maximask:night:"
#: Set of the nights that have records.
NIGHTS = "maximask:nights"
#: The key that is current for a path; `worker.identity.path_hash` of it follows.
PATH = "maximask:path:"
#: Stream of what happened.
EVENTS = "maximask:events"

#: Entries kept in the stream, roughly: some months of nights of a thousand exposures.
EVENTS_KEPT = 100_000
#: Version of an event's layout.
EVENT_SCHEMA = 1


def _lua_tables() -> str:
    """Write the states and the transitions as Lua tables, so that they are said once."""
    rows = [
        f"['{source or ''}'] = {{{', '.join(f'{target}=true' for target in sorted(targets))}}}"
        for source, targets in TRANSITIONS.items()
    ]
    states = ", ".join(f"'{state}'" for state in State)
    return f"local STATES = {{{states}}}\nlocal ALLOWED = {{{', '.join(rows)}}}\n"


_FUNCTIONS = f"""
local key, now, iso = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local file = '{FILE}' .. key

local function get(name)
  return redis.call('HGET', file, name) or ''
end

local function put(values)
  for name, value in pairs(values) do
    redis.call('HSET', file, name, value)
  end
end

local function put_from(first)
  for i = first, #ARGV, 2 do
    redis.call('HSET', file, ARGV[i], ARGV[i + 1])
  end
end

local function emit(of, event)
  local record = redis.call(
    'HMGET', '{FILE}' .. of, 'night', 'path', 'mask', 'reason', 'attempts', 'track')
  redis.call('XADD', '{EVENTS}', 'MAXLEN', '~', {EVENTS_KEPT}, '*',
    'schema', {EVENT_SCHEMA}, 'event', event, 'key', of, 'night', record[1] or '',
    'path', record[2] or '', 'mask', record[3] or '', 'reason', record[4] or '',
    'attempts', record[5] or 0, 'track', record[6] or '', 'ts', iso)
end

-- A night without records is no night.
local function prune(night)
  for _, state in ipairs(STATES) do
    if redis.call('EXISTS', '{NIGHT}' .. night .. ':' .. state) == 1 then
      return
    end
  end
  redis.call('SREM', '{NIGHTS}', night)
end

local function drop(of, event)
  local record = redis.call('HMGET', '{FILE}' .. of, 'night', 'state', 'pointer')
  if not record[2] then
    return 0
  end
  emit(of, event)
  redis.call('SREM', '{NIGHT}' .. record[1] .. ':' .. record[2], of)
  prune(record[1])
  redis.call('DEL', '{FILE}' .. of)
  if redis.call('GET', '{PATH}' .. record[3]) == of then
    redis.call('DEL', '{PATH}' .. record[3])
  end
  return 1
end

-- Makes the key the current one of its path; what was current before is removed.
local function take(pointer)
  local other = redis.call('GET', '{PATH}' .. pointer)
  if other and other ~= key then
    drop(other, 'superseded')
  end
  redis.call('SET', '{PATH}' .. pointer, key)
  put({{pointer = pointer}})
end

-- The only way into a state: checks, writes, moves between the sets, tells.
local function move(to, values, first)
  local from, night = get('state'), get('night')
  if not ALLOWED[from] or not ALLOWED[from][to] then
    error({{err = 'ERR no transition from "' .. from .. '" to "' .. to .. '" for ' .. key}})
  end
  put(values)
  put_from(first or #ARGV + 1)
  put({{key = key, state = to}})
  redis.call('HSETNX', file, 'seen_at', iso)
  redis.call('HSETNX', file, 'attempts', 0)
  if from ~= '' then
    redis.call('SREM', '{NIGHT}' .. night .. ':' .. from, key)
  end
  redis.call('SADD', '{NIGHT}' .. get('night') .. ':' .. to, key)
  redis.call('SADD', '{NIGHTS}', get('night'))
  if from ~= '' and night ~= get('night') then
    prune(night)
  end
  emit(key, to)
  return 1
end

local function is_run_by(owner)
  return get('state') == 'running' and get('owner') == owner
end
"""

_BODIES = {
    # pointer, state, size, mtime_ns, reason, night, pairs
    "note": f"""
local pointer, to, size, mtime, reason = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local other = redis.call('GET', '{PATH}' .. pointer)
if other and other ~= key then
  local known = redis.call('HMGET', '{FILE}' .. other, 'state', 'size', 'mtime_ns')
  local same = size == '' or mtime == '' or (known[2] == size and known[3] == mtime)
  if known[1] ~= 'vanished' and same then
    return 0
  end
end
local unchanged = get('state') == to and get('reason') == reason and get('night') == ARGV[9]
take(pointer)
put({{size = size, mtime_ns = mtime}})
if unchanged then
  put_from(10)
  return 0
end
return move(to, {{reason = reason}}, 10)
""",
    # pointer, token, pairs
    "claim": """
local state = get('state')
if state == 'queued' and get('claim') == ARGV[5] then
  return 1
end
local due = state == 'failed' and get('error_kind') == 'transient'
  and (tonumber(get('retry_at')) or 0) <= now
local silent = state == 'running' and (tonumber(get('lease_until')) or 0) <= now
if not (state == '' or state == 'seen' or state == 'vanished' or due or silent) then
  return 0
end
take(ARGV[4])
return move('queued', {
  claim = ARGV[5], queued_at = iso, reason = '', error = '', error_kind = '', retry_at = '',
  owner = '', lease_until = '', started_at = '', finished_at = '',
}, 6)
""",
    "unclaim": """
if get('state') ~= 'queued' then
  return 0
end
return move('seen', {queued_at = '', message = ''})
""",
    # owner, lease_until, max_attempts, dead_owner, pairs
    "begin": f"""
local owner, max_attempts, dead = ARGV[4], tonumber(ARGV[6]), ARGV[7]
local state, holder, attempts = get('state'), get('owner'), tonumber(get('attempts')) or 0
if state == '' or redis.call('GET', '{PATH}' .. get('pointer')) ~= key then
  return {{'stale', attempts, '', ''}}
end
if state == 'running' then
  if holder == owner and get('started_at') == iso then
    return {{'started', attempts, '', ''}}
  end
  local alive = (tonumber(get('lease_until')) or 0) > now and holder ~= dead
  if holder ~= owner and alive then
    return {{'busy', attempts, holder, get('lease_until')}}
  end
elseif state ~= 'queued' and state ~= 'seen' then
  return {{'stale', attempts, '', ''}}
end
-- A failure that may pass, a full disk for example, says nothing against the exposure.
local fruitless = attempts - (tonumber(get('transient')) or 0)
if fruitless >= max_attempts then
  local last = get('worker')
  move('quarantined', {{
    lease_until = '', finished_at = iso, error_kind = 'permanent', error = 'AttemptsExhausted',
    reason = fruitless .. ' attempts ended without a result'
      .. (last ~= '' and ', the last on ' .. last or '')
      .. ': read the log of that worker, then retry the exposure by hand.',
  }})
  return {{'quarantined', attempts, '', ''}}
end
put({{attempts = attempts + 1}})
move('running', {{
  owner = owner, lease_until = ARGV[5], started_at = iso, finished_at = '', seconds = '',
  reason = '', error = '', error_kind = '', hdus_done = '', mpix_done = '',
}}, 8)
return {{'started', attempts + 1, '', ''}}
""",
    # owner, lease_until
    "renew": """
if not is_run_by(ARGV[4]) then
  return 0
end
put({lease_until = ARGV[5]})
return 1
""",
    # owner, pairs
    "progress": """
if not is_run_by(ARGV[4]) then
  return 0
end
put_from(5)
return 1
""",
    # owner, state, pairs
    "finish": """
if get('state') == ARGV[5] and get('owner') == ARGV[4] then
  return 1
end
if not is_run_by(ARGV[4]) then
  return 0
end
move(ARGV[5], {lease_until = '', finished_at = iso}, 6)
if ARGV[5] == 'failed' and get('error_kind') == 'transient' then
  redis.call('HINCRBY', file, 'transient', 1)
end
return 1
""",
    # owner
    "release": """
if not is_run_by(ARGV[4]) then
  return 0
end
put({attempts = math.max(tonumber(get('attempts')) - 1, 0)})
return move('queued', {
  owner = '', lease_until = '', started_at = '', hdus_done = '', mpix_done = '', queued_at = iso,
})
""",
    # pointer, pairs
    "rebuilt": """
if get('state') ~= '' then
  return 0
end
take(ARGV[4])
return move('done', {finished_at = iso}, 5)
""",
    # reason
    "vanish": """
local state = get('state')
if state == '' or state == 'running' or not ALLOWED[state]['vanished'] then
  return 0
end
return move('vanished', {reason = ARGV[4], finished_at = iso, retry_at = ''})
""",
    "forget": "return drop(key, 'forgotten')",
    # pointer
    "current": f"""
local found = redis.call('GET', '{PATH}' .. ARGV[4])
return found and redis.call('HGETALL', '{FILE}' .. found) or {{}}
""",
}

#: The text of each script by its name.
SCRIPTS = {name: _lua_tables() + _FUNCTIONS + body for name, body in _BODIES.items()}
