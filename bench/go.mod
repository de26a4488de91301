module github.com/goasyncio/asyncio/bench

go 1.26.0

require github.com/goasyncio/asyncio v0.0.0

require golang.org/x/sys v0.49.0 // indirect

replace github.com/goasyncio/asyncio => ../
