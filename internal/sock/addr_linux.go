// This file translates addresses between Go and the kernel.

package sock

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// inetSockaddr returns the kernel's form of an IP address and port, and the
// family of the sockets that can use it.
func inetSockaddr(ap netip.AddrPort) (unix.Sockaddr, int, error) {
	addr := ap.Addr().Unmap()
	switch {
	case addr.Is4():
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: addr.As4()}, unix.AF_INET, nil
	case addr.Is6():
		zone, err := zoneID(addr.Zone())
		if err != nil {
			return nil, 0, &net.AddrError{Err: err.Error(), Addr: ap.String()}
		}
		return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: addr.As16(), ZoneId: zone}, unix.AF_INET6, nil
	default:
		return nil, 0, &net.AddrError{Err: "no IP address", Addr: ap.String()}
	}
}

// unixSockaddr returns the kernel's form of the name of a unix socket.
func unixSockaddr(path string) (unix.Sockaddr, error) {
	if !abstract(path) && strings.IndexByte(path, 0) >= 0 {
		return nil, unix.EINVAL // the kernel would stop reading at the NUL
	}
	return &unix.SockaddrUnix{Name: path}, nil
}

// abstract reports whether path names no file: it has a name of Linux's
// abstract namespace, or none.
func abstract(path string) bool {
	return path == "" || path[0] == '@' || path[0] == 0
}

// zoneID returns the number of an IPv6 zone, which is the name of an interface
// or a number already.
func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index), nil
	}
	id, err := strconv.ParseUint(zone, 10, 32)
	if err != nil {
		return 0, net.InvalidAddrError("unknown IPv6 zone")
	}
	return uint32(id), nil
}

// zoneName is the opposite of zoneID.
func zoneName(id uint32) string {
	if id == 0 {
		return ""
	}
	if ifi, err := net.InterfaceByIndex(int(id)); err == nil {
		return ifi.Name
	}
	return strconv.FormatUint(uint64(id), 10)
}

// netAddr returns sa as package net has it.
func netAddr(sa unix.Sockaddr) net.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port, Zone: zoneName(sa.ZoneId)}
	case *unix.SockaddrUnix:
		name := sa.Name
		if name == "@" {
			name = "" // what package unix makes of a socket without a name
		}
		return &net.UnixAddr{Name: name, Net: "unix"}
	default:
		return nil
	}
}

// An endpoint is the address of an IP socket, in little memory. The zero endpoint is
// none.
type endpoint struct {
	ip     [16]byte // the first four bytes of it with IPv4
	zone   uint32
	port   uint16
	family uint16
}

// endpointOf returns sa as an endpoint; none if it is not IP.
func endpointOf(sa unix.Sockaddr) endpoint {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		e := endpoint{port: uint16(sa.Port), family: unix.AF_INET}
		copy(e.ip[:], sa.Addr[:])
		return e
	case *unix.SockaddrInet6:
		return endpoint{ip: sa.Addr, zone: sa.ZoneId, port: uint16(sa.Port), family: unix.AF_INET6}
	default:
		return endpoint{}
	}
}

// is reports whether e is an address.
func (e *endpoint) is() bool { return e.family != 0 }

// netAddr returns e as package net has it.
func (e *endpoint) netAddr() net.Addr {
	if e.family == unix.AF_INET {
		return &net.TCPAddr{IP: slices.Clone(e.ip[:4]), Port: int(e.port)}
	}
	return &net.TCPAddr{IP: slices.Clone(e.ip[:]), Port: int(e.port), Zone: zoneName(e.zone)}
}
