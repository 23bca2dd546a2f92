-- What wrk asks for. The table `plan` is written above this text by bench/load/script.py.
-- Each request has nine header fields; `plan.is_unique` gives each request its own values in four of them.

local FIELDS = "Host: shop.example\r\n"
  .. "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
  .. "Accept: application/json, text/plain, */*\r\n"
  .. "Accept-Encoding: gzip, deflate, br\r\n"
  .. "Accept-Language: en-US,en;q=0.9\r\n"
  .. "X-Request-Id: 6f1b2c3d-%08x\r\n"
  .. "traceparent: 00-4bf92f3577b34da6a3ce929d%08x-00f067aa%08x-01\r\n"
  .. "X-Forwarded-For: 10.%d.%d.%d\r\n"
  .. "X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a9%08x\r\n"

local TEMPLATE = plan.method .. " /%s/%08d HTTP/1.1\r\n" .. FIELDS .. plan.more_fields .. "\r\n" .. plan.body

local floor, format = math.floor, string.format
local serial = plan.serial

local function write(name, number)
  local value = serial
  return format(TEMPLATE, name, number, value, value, value,
    floor(value / 65536) % 256, floor(value / 256) % 256, value % 256, value)
end

-- The number behind the next path of a source, by the order it is asked in.
local orders = {}

function orders.cycle(source)
  local turn = source.start
  return function()
    local number = source.first + turn % source.count
    turn = turn + 1
    return number
  end
end

-- Zipf with exponent 1: rank r has a probability of about 1 / (r ln count).
function orders.zipf(source)
  math.randomseed(plan.serial)
  local numbers, top = {}, math.log(source.count)
  for place = 1, 200000 do
    local rank = math.min(floor(math.exp(math.random() * top)), source.count)
    -- Popular entries lie anywhere among the others.
    numbers[place] = source.first + (rank * 7919) % source.count
  end
  local turn = 0
  return function()
    turn = turn % #numbers + 1
    return numbers[turn]
  end
end

for _, source in ipairs(plan.sources) do
  source.next = orders[source.order](source)
end

local turn, written = 0, {}

function request()
  turn = turn % #plan.schedule + 1
  local source = plan.sources[plan.schedule[turn]]
  local number = source.next()
  if plan.is_unique then
    serial = serial + 1
    return write(source.name, number)
  end
  local same = written[number]
  if not same then
    same = write(source.name, number)
    written[number] = same
  end
  return same
end

function done(summary, latency)
  local errors = summary.errors
  io.write(format(
    '\nfigures {"requests": %d, "seconds": %.6f, "refused": %d, "broken": %d, "bad_status": %d, "timeouts": %d, '
      .. '"p50_ms": %.4f, "p99_ms": %.4f, "worst_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6, errors.connect, errors.read + errors.write, errors.status,
    errors.timeout, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
