-- Prints wrk's counts as JSON in the last line of its output.
done = function(summary, latency, requests)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(string.format('{"requests":%d,"failed":%d,"bytes":%d,"microseconds":%d}\n',
      summary.requests, failed, summary.bytes, summary.duration))
end
