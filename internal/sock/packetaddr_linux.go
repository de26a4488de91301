// This file exchanges addresses with the kernel, of datagrams and of connections that
// are accepted, in memory that is used again for each of them.

package sock

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/goasyncio/asyncio/internal/seam"
)

// A sockaddr is an address as the kernel has it: the first size bytes, which
// begin with the family. Size 0 is no address.
type sockaddr struct {
	bytes [unix.SizeofSockaddrUnix]byte // the longest of the three kinds
	size  uint32
}

// Where things are in the addresses of IP sockets. The port is in the order of
// the network, the family and the zone in the machine's.
const (
	portAt  = 2
	addr4At = 4
	addr6At = 8
	zoneAt  = 24
	nameAt  = 2 // of a Unix socket
)

func (s *sockaddr) family() uint16 {
	if s.size < nameAt {
		return unix.AF_UNSPEC
	}
	return binary.NativeEndian.Uint16(s.bytes[:])
}

// set makes s the address to.
func (s *sockaddr) set(to seam.Addr, zones *zoneCache) error {
	switch {
	case to.AddrPort.IsValid():
		return s.setInet(to.AddrPort, zones)
	case to.Path != "":
		return s.setUnix(to.Path)
	}
	s.size = 0
	return nil
}

func (s *sockaddr) setInet(to netip.AddrPort, zones *zoneCache) error {
	binary.BigEndian.PutUint16(s.bytes[portAt:], to.Port())
	ip := to.Addr().Unmap()
	if ip.Is4() {
		a := ip.As4()
		binary.NativeEndian.PutUint16(s.bytes[:], unix.AF_INET)
		copy(s.bytes[addr4At:], a[:])
		s.size = unix.SizeofSockaddrInet4
		return nil
	}
	zone, err := zones.id(ip.Zone())
	if err != nil {
		return &net.AddrError{Err: err.Error(), Addr: to.String()}
	}
	a := ip.As16()
	binary.NativeEndian.PutUint16(s.bytes[:], unix.AF_INET6)
	clear(s.bytes[addr4At:addr6At]) // the flow
	copy(s.bytes[addr6At:], a[:])
	binary.NativeEndian.PutUint32(s.bytes[zoneAt:], zone)
	s.size = unix.SizeofSockaddrInet6
	return nil
}

func (s *sockaddr) setUnix(path string) error {
	if len(path) > len(s.bytes)-nameAt-1 || !abstract(path) && strings.IndexByte(path, 0) >= 0 {
		return os.NewSyscallError("sendto", unix.EINVAL)
	}
	binary.NativeEndian.PutUint16(s.bytes[:], unix.AF_UNIX)
	n := nameAt + copy(s.bytes[nameAt:], path)
	if path[0] == '@' {
		s.bytes[nameAt] = 0
	}
	if !abstract(path) {
		s.bytes[n] = 0
		n++
	}
	s.size = uint32(n)
	return nil
}

// addrPort returns an address of IP, zero if s is none.
func (s *sockaddr) addrPort(zones *zoneCache) netip.AddrPort {
	port := binary.BigEndian.Uint16(s.bytes[portAt:])
	switch s.family() {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(s.bytes[addr4At:])), port)
	case unix.AF_INET6:
		ip := netip.AddrFrom16([16]byte(s.bytes[addr6At:])).Unmap()
		if zone := binary.NativeEndian.Uint32(s.bytes[zoneAt:]); zone != 0 {
			ip = ip.WithZone(zones.name(zone))
		}
		return netip.AddrPortFrom(ip, port)
	}
	return netip.AddrPort{}
}

// unixName returns the name of a Unix socket, in memory of s; none if it has none.
func (s *sockaddr) unixName() []byte {
	name := s.bytes[nameAt:min(max(nameAt, int(s.size)), len(s.bytes))]
	if len(name) > 0 && name[0] == 0 {
		name[0] = '@'
		return name
	}
	for i, b := range name {
		if b == 0 {
			return name[:i]
		}
	}
	return name
}

// endpoint returns an address of IP.
func (s *sockaddr) endpoint() endpoint {
	e := endpoint{port: binary.BigEndian.Uint16(s.bytes[portAt:]), family: s.family()}
	if e.family == unix.AF_INET {
		copy(e.ip[:], s.bytes[addr4At:addr4At+4])
	} else {
		copy(e.ip[:], s.bytes[addr6At:])
		e.zone = binary.NativeEndian.Uint32(s.bytes[zoneAt:])
	}
	return e
}

// accept takes the next connection from a listening socket, not in blocking mode, and
// makes s the address of the peer.
func (s *sockaddr) accept(fd int) (int, unix.Errno) {
	s.size = uint32(len(s.bytes))
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&s.bytes)), uintptr(unsafe.Pointer(&s.size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(n), errno
}

// receive reads a datagram and makes s the address of its sender.
func (s *sockaddr) receive(fd int, p []byte) (int, unix.Errno) {
	s.size = uint32(len(s.bytes))
	return receive(fd, p, unsafe.Pointer(&s.bytes), &s.size)
}

// send sends a datagram to s, or to the connected peer if s is none.
func (s *sockaddr) send(fd int, p []byte) unix.Errno {
	var to unsafe.Pointer // an address of no bytes is an error, no address is not
	if s.size > 0 {
		to = unsafe.Pointer(&s.bytes)
	}
	return send(fd, p, to, s.size)
}

// seamAddr returns the address of a socket; zero if it has none.
func seamAddr(sa unix.Sockaddr) seam.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return seam.Addr{AddrPort: netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))}
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr).Unmap().WithZone(zoneName(sa.ZoneId))
		return seam.Addr{AddrPort: netip.AddrPortFrom(ip, uint16(sa.Port))}
	case *unix.SockaddrUnix:
		if sa.Name == "@" {
			return seam.Addr{} // what package unix makes of a socket without a name
		}
		return seam.Addr{Path: sa.Name}
	default:
		return seam.Addr{}
	}
}

// A lastName makes a string of bytes. For the same bytes as the last time it does
// not need a new one.
type lastName struct{ name string }

func (l *lastName) string(b []byte) string {
	if l.name != string(b) {
		l.name = string(b)
	}
	return l.name
}

// A zoneCache knows the latest IPv6 zone by name and number, for a while: to ask
// for one takes several system calls.
type zoneCache struct {
	zone   string
	number uint32 // 0 for none
	until  time.Time
}

const zoneLife = 10 * time.Second

func (c *zoneCache) id(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if c.number == 0 || c.zone != zone || time.Now().After(c.until) {
		id, err := zoneID(zone)
		if err != nil || id == 0 {
			return 0, err
		}
		*c = zoneCache{zone, id, time.Now().Add(zoneLife)}
	}
	return c.number, nil
}

func (c *zoneCache) name(id uint32) string {
	if c.number != id || time.Now().After(c.until) {
		*c = zoneCache{zoneName(id), id, time.Now().Add(zoneLife)}
	}
	return c.zone
}
