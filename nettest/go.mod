module github.com/goasyncio/asyncio/nettest

go 1.26.0

replace github.com/goasyncio/asyncio => ../

require github.com/goasyncio/asyncio v0.0.0

require (
	golang.org/x/net v0.62.0
	golang.org/x/sys v0.49.0 // indirect
)
