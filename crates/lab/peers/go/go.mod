module inflight/peer

go 1.19
