-- For wrk: `wrk … -s store.lua URL -- PATH [SIZE]`. Asks for PATH; with SIZE, its length, for 64 KiB of it at random
-- places. Prints one line of JSON.
local RANGE_BYTES = 65536
local accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("seed", threads)
end

function init(arguments)
  local path, size = arguments[1], tonumber(arguments[2])
  wrk.headers["Accept"] = accept
  math.randomseed(seed)
  if size then
    request = function()
      local first = math.random(0, size - RANGE_BYTES)
      return wrk.format("GET", path, { Range = "bytes=" .. first .. "-" .. (first + RANGE_BYTES - 1) })
    end
  else
    local message = wrk.format("GET", path)
    request = function() return message end
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"bytes":%d,"durationUs":%d,"p99Us":%d,"failed":%d}\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status))
end
