-- wrk's script: sends the requests of a file, one after another, and reports as one line of JSON.
--
-- arguments  1  method
--            2  file of requests: a line each, the path and, behind a tab, the body
--            3  mean pause of a connection between two requests in milliseconds, 0 for none
--            4  text that makes the bodies of this run differ from those of any other, or ''
--            5  backend that has to answer searches, or '': others are counted
--
-- Requests are put together once, before the load starts, unless each has to have a body of its
-- own: this is the client, and must not be what is measured.

local requests, paths, bodies = {}, {}, {}
local position, sent = 0, 0
local headers = { ["Content-Type"] = "application/json" }
local method, pause, salt
local threads = {}
strayed = 0 -- read from outside of the thread, and so not local

function setup(thread)
  threads[#threads + 1] = thread
end

local function answered_by(headers)
  for name, value in pairs(headers) do
    if name:lower() == "x-search-backend" then
      return value
    end
  end
end

function init(arguments)
  method, pause, salt = arguments[1], tonumber(arguments[3]), arguments[4] or ""
  math.randomseed(os.time())
  for line in io.lines(arguments[2]) do
    local path, body = line:match("^([^\t]*)\t?(.*)$")
    paths[#paths + 1], bodies[#bodies + 1] = path, body
    requests[#requests + 1] = wrk.format(method, path, headers, body ~= "" and body or nil)
  end
  local backend = arguments[5] or ""
  if backend ~= "" then
    response = function(_, answer_headers)
      if answered_by(answer_headers) ~= backend then
        strayed = strayed + 1
      end
    end
  end
  if pause > 0 then
    -- Evenly spread between nothing and twice the mean; the fraction is rounded by chance.
    delay = function() return math.floor(math.random() * 2 * pause + math.random()) end
  end
end

function request()
  position = position % #requests + 1
  if salt == "" then
    return requests[position]
  end
  sent = sent + 1
  local body = string.format('{"body":"%s %s-%d"}', "changed by the benchmark", salt, sent)
  return wrk.format(method, paths[position], headers, body)
end

function done(summary, latency, _)
  local e = summary.errors
  local astray = 0
  for _, thread in ipairs(threads) do
    astray = astray + thread:get("strayed")
  end
  io.write(string.format(
    '\nRESULT {"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"slowest":%d,"refused":%d,"broken":%d,"strayed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.status, e.connect + e.read + e.write + e.timeout, astray))
end
