// Package nettest holds NetConn of package asyncio to what golang.org/x/net/nettest
// demands of any net.Conn: over TCP, Unix sockets and TLS, called from plain goroutines
// and from tasks, with a peer of package net, of the same loop and of another one. It is
// a module of its own, since the library itself depends on nothing but the standard
// library and golang.org/x/sys.
package nettest
