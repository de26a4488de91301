// The format of recordings: entries, blocks, and how errors and addresses are written.

package asynciotest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/goasyncio/asyncio/internal/seam"
)

// # Format
//
// A recording is one stream of entries, in the order in which things happened on the
// loop's thread. The stream is cut into blocks without regard to entries, and they
// follow an 8 byte header, "AIOTAPE" and the version:
//
//	block    = sequence length checksum payload
//	sequence = uint32, little endian, from 0
//	length   = uint32, little endian, of the payload, at most maxPayload
//	checksum = uint32, little endian, CRC-32C of sequence, length and payload
//
// An entry is a byte that says what it is, an op below, and its fields: unsigned
// numbers as uvarint, signed ones as varint, text and bytes behind their length.
// Times are differences to the one before. Connections, listeners, sockets, pipes and
// child processes have numbers in the order of their creation. What a program gets is in
// the entry; what it gives is there as its length and its CRC-32C, or as text if it is
// short.
//
// A recording of a loop that was closed ends with opEnd.
const (
	tapeMagic   = "AIOTAPE"
	tapeVersion = 3
	frameSize   = 12
	blockSize   = 64 << 10
	maxPayload  = blockSize - frameSize
	mostBlocks  = 10 // 640 KiB of memory at most
)

// An op is what an entry tells of.
type op byte

const (
	opBegin op = 1 + iota // system, then offset of the time zone
	opSeed
	opNow
	opWall
	opWait
	opReady
	opWaited
	opPosts
	opLookUp
	opNetwork
	opNetworkClose
	opDial
	opConnected
	opRead
	opWrite
	opCloseWrite
	opClose
	opReset
	opLocalAddr
	opRemoteAddr
	opListen
	opStart
	opAccept
	opAttach
	opOpenPacket
	opReadFrom
	opWriteTo
	opTLS
	opTLSCall
	opTLSRead
	opTLSWrite
	opTLSDone
	opPipe
	opAdopt
	opChild
	opChildWatch
	opChildSignal
	opChildExits
	opChildReap
	opSignals // who wants which
	opEnd
)

var opNames = map[op]string{
	opBegin: "the beginning", opSeed: "the seed of Rand", opNow: "a reading of the loop's clock",
	opWall: "a reading of the time of day", opWait: "a wait for something to happen", opReady: "readiness",
	opWaited: "the end of a wait", opPosts: "calls from other goroutines", opLookUp: "the look-up of a name",
	opNetwork: "the opening of the network", opNetworkClose: "the closing of the network", opDial: "a Dial",
	opConnected: "the end of a Dial", opRead: "a read", opWrite: "a write", opCloseWrite: "the end of the sending half",
	opClose: "a close", opReset: "a reset", opLocalAddr: "a question for the local address",
	opRemoteAddr: "a question for the remote address", opListen: "a Listen", opStart: "the start of listening",
	opAccept: "an Accept", opAttach: "the beginning of an accepted connection", opOpenPacket: "a socket for datagrams",
	opReadFrom: "the reading of a datagram", opWriteTo: "the writing of a datagram", opTLS: "the beginning of TLS",
	opTLSCall: "a call of TLS", opTLSRead: "a read by TLS", opTLSWrite: "a write by TLS", opTLSDone: "the end of a call of TLS",
	opPipe: "the opening of a pipe to a child process", opAdopt: "the use of a pipe", opChild: "the start of a child process",
	opChildWatch: "the watch of a child process", opChildSignal: "a signal to a child process",
	opChildExits: "the wait for a child process when the loop is closed", opChildReap: "the exit of a child process",
	opSignals: "a change of who wants which signals", opEnd: "the end",
}

func (o op) String() string {
	if name, ok := opNames[o]; ok {
		return name
	}
	return fmt.Sprintf("an unknown entry (%d)", byte(o))
}

// hasObject reports whether the first field of an entry is the number of an object.
func (o op) hasObject() bool {
	switch o {
	case opReady, opConnected, opRead, opWrite, opCloseWrite, opClose, opReset, opLocalAddr, opRemoteAddr, opStart,
		opAccept, opAttach, opReadFrom, opWriteTo, opTLS, opTLSCall, opTLSRead, opTLSWrite, opTLSDone,
		opChildWatch, opChildSignal, opChildExits, opChildReap:
		return true
	}
	return false
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint64 { return uint64(crc32.Checksum(p, castagnoli)) }

// sum is checksum of several buffers, and their length.
func sum(v [][]byte) (n int, crc uint64) {
	c := uint32(0)
	for _, p := range v {
		n += len(p)
		c = crc32.Update(c, castagnoli, p)
	}
	return n, uint64(c)
}

// frame fills in the first frameSize bytes of a block.
func frame(block []byte, sequence uint32) {
	binary.LittleEndian.PutUint32(block, sequence)
	binary.LittleEndian.PutUint32(block[4:], uint32(len(block)-frameSize))
	binary.LittleEndian.PutUint32(block[8:], frameSum(block[:8], block[frameSize:]))
}

func frameSum(head, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, payload)
}

// A tapeWriter takes the fields of entries.
type tapeWriter interface {
	u(x uint64)
	i(x int64)
	bytes(p []byte)
	str(s string)
}

// A tapeReader gives them back.
type tapeReader interface {
	u() uint64
	i() int64
	bytes() []byte
	str() string
	broken(format string, args ...any) // notes that the recording makes no sense
	fail(err error)                    // notes that it cannot be replayed
}

// Kinds of errors.
const (
	errorNone = iota
	errorWouldBlock
	errorEOF
	errorUnexpectedEOF
	errorNetClosed
	errorOSClosed
	errorCanceled
	errorDeadline
	errorIdle
	errorUnsupported
	errorProcessDone
	errorNoProgram
	errorProgramHere
	errorNotExist
	errorPermission
	errorErrno
	errorSyscall
	errorOp
	errorDNS
	errorAddr
	errorUnknownNetwork
	errorExec
	errorPath
	errorText
	errorBelow       // of a TLS connection: the one that its transport has returned
	errorAroundBelow // one that wraps that one
	errorPanic       // none: a function of the tls.Config has panicked
)

// plainErrors are those that are equal to themselves.
var plainErrors = map[int]error{
	errorWouldBlock: seam.ErrWouldBlock, errorEOF: io.EOF, errorUnexpectedEOF: io.ErrUnexpectedEOF,
	errorNetClosed: net.ErrClosed, errorOSClosed: os.ErrClosed, errorCanceled: context.Canceled,
	errorDeadline: context.DeadlineExceeded, errorIdle: seam.ErrIdle, errorUnsupported: errors.ErrUnsupported,
	errorProcessDone: os.ErrProcessDone, errorNoProgram: exec.ErrNotFound, errorProgramHere: exec.ErrDot,
	errorNotExist: fs.ErrNotExist, errorPermission: fs.ErrPermission,
}

const lastPlain = errorPermission

func putError(w tapeWriter, err error) {
	if err == nil {
		w.u(errorNone)
		return
	}
	if err == seam.ErrWouldBlock {
		w.u(errorWouldBlock)
		return
	}
	for kind := errorEOF; kind <= lastPlain; kind++ {
		if err == plainErrors[kind] {
			w.u(uint64(kind))
			return
		}
	}
	switch e := err.(type) {
	case syscall.Errno:
		w.u(errorErrno)
		w.u(uint64(e))
	case *os.SyscallError:
		w.u(errorSyscall)
		w.str(e.Syscall)
		putError(w, e.Err)
	case *net.OpError:
		w.u(errorOp)
		w.str(e.Op)
		w.str(e.Net)
		putAddr(w, e.Source)
		putAddr(w, e.Addr)
		putError(w, e.Err)
	case *net.DNSError:
		w.u(errorDNS)
		w.str(e.Err)
		w.str(e.Name)
		w.str(e.Server)
		putBool(w, e.IsTimeout)
		putBool(w, e.IsTemporary)
		putBool(w, e.IsNotFound)
	case *net.AddrError:
		w.u(errorAddr)
		w.str(e.Err)
		w.str(e.Addr)
	case net.UnknownNetworkError:
		w.u(errorUnknownNetwork)
		w.str(string(e))
	case *exec.Error:
		w.u(errorExec)
		w.str(e.Name)
		putError(w, e.Err)
	case *fs.PathError:
		w.u(errorPath)
		w.str(e.Op)
		w.str(e.Path)
		putError(w, e.Err)
	default:
		w.u(errorText)
		w.str(err.Error())
		timeout, ok := err.(interface{ Timeout() bool })
		putBool(w, ok && timeout.Timeout())
		putError(w, plainCause(err))
	}
}

// plainCause returns the plain error or error number that err is, if any.
func plainCause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	for kind := errorEOF; kind <= lastPlain; kind++ {
		if errors.Is(err, plainErrors[kind]) {
			return plainErrors[kind]
		}
	}
	return nil
}

func takeError(r tapeReader) error {
	switch kind := r.u(); kind {
	case errorNone:
		return nil
	case errorErrno:
		return syscall.Errno(r.u())
	case errorSyscall:
		return &os.SyscallError{Syscall: r.str(), Err: takeError(r)}
	case errorOp:
		return &net.OpError{Op: r.str(), Net: r.str(), Source: takeAddr(r), Addr: takeAddr(r), Err: takeError(r)}
	case errorDNS:
		return &net.DNSError{Err: r.str(), Name: r.str(), Server: r.str(), IsTimeout: takeBool(r), IsTemporary: takeBool(r), IsNotFound: takeBool(r)}
	case errorAddr:
		return &net.AddrError{Err: r.str(), Addr: r.str()}
	case errorUnknownNetwork:
		return net.UnknownNetworkError(r.str())
	case errorExec:
		return &exec.Error{Name: r.str(), Err: takeError(r)}
	case errorPath:
		return &fs.PathError{Op: r.str(), Path: r.str(), Err: takeError(r)}
	case errorText:
		return &recordedError{text: r.str(), timeout: takeBool(r), cause: takeError(r)}
	default:
		if err, ok := plainErrors[int(min(kind, errorText))]; ok {
			return err
		}
		r.broken("there is no error of kind %d", kind)
		return errors.New("unknown")
	}
}

// A recordedError is one of a type that recordings do not keep.
type recordedError struct {
	text    string
	timeout bool
	cause   error
}

func (e *recordedError) Error() string { return e.text }
func (e *recordedError) Unwrap() error { return e.cause }
func (e *recordedError) Timeout() bool { return e.timeout }

func putBool(w tapeWriter, b bool) {
	if b {
		w.u(1)
	} else {
		w.u(0)
	}
}

func takeBool(r tapeReader) bool { return r.u() != 0 }

// Kinds of addresses.
const (
	addrNone = iota
	addrTCP
	addrUDP
	addrUnix
	addrOther
)

func putAddr(w tapeWriter, a net.Addr) {
	switch a := a.(type) {
	case *net.TCPAddr:
		if a == nil {
			break
		}
		w.u(addrTCP)
		putIP(w, a.IP, a.Port, a.Zone)
		return
	case *net.UDPAddr:
		if a == nil {
			break
		}
		w.u(addrUDP)
		putIP(w, a.IP, a.Port, a.Zone)
		return
	case *net.UnixAddr:
		if a == nil {
			break
		}
		w.u(addrUnix)
		w.str(a.Net)
		w.str(a.Name)
		return
	case nil:
	default:
		w.u(addrOther)
		w.str(a.Network())
		w.str(a.String())
		return
	}
	w.u(addrNone)
}

func putIP(w tapeWriter, ip net.IP, port int, zone string) {
	w.bytes(ip)
	w.u(uint64(port))
	w.str(zone)
}

func takeAddr(r tapeReader) net.Addr {
	switch kind := r.u(); kind {
	case addrNone:
		return nil
	case addrTCP:
		return &net.TCPAddr{IP: r.bytes(), Port: int(r.u()), Zone: r.str()}
	case addrUDP:
		return &net.UDPAddr{IP: r.bytes(), Port: int(r.u()), Zone: r.str()}
	case addrUnix:
		return &net.UnixAddr{Net: r.str(), Name: r.str()}
	case addrOther:
		return recordedAddr{network: r.str(), text: r.str()}
	default:
		r.broken("there is no address of kind %d", kind)
		return nil
	}
}

type recordedAddr struct{ network, text string }

func (a recordedAddr) Network() string { return a.network }
func (a recordedAddr) String() string  { return a.text }

func putSeamAddr(w tapeWriter, a seam.Addr) {
	text, _ := a.AddrPort.MarshalText() // of an AddrPort it never fails
	w.bytes(text)
	w.str(a.Path)
}

func takeSeamAddr(r tapeReader) (a seam.Addr) {
	if text := r.bytes(); len(text) > 0 {
		if err := a.AddrPort.UnmarshalText(text); err != nil {
			r.broken("%v", err)
		}
	}
	a.Path = r.str()
	return a
}

func addrText(a seam.Addr) string {
	switch {
	case a.AddrPort.IsValid():
		return a.AddrPort.String()
	case a.Path != "":
		return a.Path
	}
	return "any"
}

func putAnswer(w tapeWriter, a seam.Answer) {
	w.u(uint64(len(a.Addrs)))
	for _, addr := range a.Addrs {
		putSeamAddr(w, seam.Addr{AddrPort: addr})
	}
	w.str(a.Host)
	w.str(a.Service)
	putError(w, a.Err)
}

func takeAnswer(r tapeReader) (a seam.Answer) {
	for range takeCount(r) {
		a.Addrs = append(a.Addrs, takeSeamAddr(r).AddrPort)
	}
	a.Host, a.Service, a.Err = r.str(), r.str(), takeError(r)
	return a
}

func putState(w tapeWriter, s tls.ConnectionState) {
	w.u(uint64(s.Version))
	putBool(w, s.HandshakeComplete)
	putBool(w, s.DidResume)
	w.u(uint64(s.CipherSuite))
	w.u(uint64(s.CurveID))
	w.str(s.NegotiatedProtocol)
	w.str(s.ServerName)
	putBool(w, s.ECHAccepted)
	putBool(w, s.HelloRetryRequest)
	w.bytes(s.OCSPResponse)
	w.bytes(s.TLSUnique)
	w.u(uint64(len(s.SignedCertificateTimestamps)))
	for _, sct := range s.SignedCertificateTimestamps {
		w.bytes(sct)
	}
	putCertificates(w, s.PeerCertificates)
	w.u(uint64(len(s.VerifiedChains)))
	for _, chain := range s.VerifiedChains {
		putCertificates(w, chain)
	}
}

func putCertificates(w tapeWriter, certificates []*x509.Certificate) {
	w.u(uint64(len(certificates)))
	for _, c := range certificates {
		w.bytes(c.Raw)
	}
}

func takeState(r tapeReader) (s tls.ConnectionState) {
	s.Version = uint16(r.u())
	s.HandshakeComplete, s.DidResume = takeBool(r), takeBool(r)
	s.CipherSuite, s.CurveID = uint16(r.u()), tls.CurveID(r.u())
	s.NegotiatedProtocol, s.NegotiatedProtocolIsMutual = r.str(), true
	s.ServerName = r.str()
	s.ECHAccepted, s.HelloRetryRequest = takeBool(r), takeBool(r)
	s.OCSPResponse, s.TLSUnique = orNil(r.bytes()), orNil(r.bytes())
	for range takeCount(r) {
		s.SignedCertificateTimestamps = append(s.SignedCertificateTimestamps, r.bytes())
	}
	s.PeerCertificates = takeCertificates(r)
	for range takeCount(r) {
		s.VerifiedChains = append(s.VerifiedChains, takeCertificates(r))
	}
	return s
}

func takeCertificates(r tapeReader) (certificates []*x509.Certificate) {
	for range takeCount(r) {
		c, err := x509.ParseCertificate(r.bytes())
		if err != nil {
			r.broken("%v", err)
			return nil
		}
		certificates = append(certificates, c)
	}
	return certificates
}

func orNil(p []byte) []byte {
	if len(p) == 0 {
		return nil
	}
	return p
}

// takeCount takes the length of a short list.
func takeCount(r tapeReader) uint64 {
	const most = 1 << 16
	n := r.u()
	if n > most {
		r.broken("a list has %d elements", n)
		return 0
	}
	return n
}

// zoned returns t, a time of day, in a zone that is offset seconds east of Greenwich:
// the local one, if that is it.
func zoned(t time.Time, offset int) time.Time {
	if _, local := t.Zone(); local == offset {
		return t
	}
	return t.In(time.FixedZone("", offset))
}

// refuseMachine panics if a clock is that of a simulated machine.
func refuseMachine(c seam.Clock) {
	if _, ok := c.(seam.Machine); ok {
		panic("asynciotest: a program on a simulated network is repeated by its seed, and not recorded")
	}
}
