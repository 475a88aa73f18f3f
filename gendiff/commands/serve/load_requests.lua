-- What `wrk` sends to POST /v1/images/generations: each request differs in prompt, steps (20 in the mean), guidance and seed.
-- At the end it prints one line of JSON, which `gendiff serve-load` reads.
local prompts = { "a small red circle at the top left", "a large green square at the bottom right", "a small yellow cross at the top right" }
local count = 0

function request()
  count = count + 1
  local prompt, steps = prompts[count % #prompts + 1], 10 + 5 * (count % 5)
  local body = string.format('{"prompt": "%s", "steps": %d, "guidance": %d, "seed": %d}', prompt, steps, 1 + count % 7, count)
  return wrk.format("POST", nil, { ["Content-Type"] = "application/json" }, body)
end

function done(summary, latency)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  local told = '{"answers": %d, "refused": %d, "broken": %d, "seconds": %.3f, "median": %.3f, "p99": %.3f}\n'
  local seconds = { summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6 }
  io.write(string.format(told, summary.requests, errors.status, broken, unpack(seconds)))
end
