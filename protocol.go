// Protocols: what callbacks does a connection make?

package asyncio

// A BaseProtocol is what Protocol and BufferedProtocol have in common
// (asyncio.BaseProtocol). All its methods are called on the loop, as callbacks: they
// cannot await, but they can create tasks. If ConnectionMade or one that receives
// something panics, that is reported, and the connection ends with the *PanicError;
// a panic of the others is reported only.
type BaseProtocol interface {
	// ConnectionMade is called once, before all others, when the connection
	// stands and any TLS handshake is done.
	ConnectionMade(t *Transport)

	// ConnectionLost is called once, after all others, if ConnectionMade was: with
	// nil after Close, Abort and an ordinary end of the stream, else with what has
	// broken the connection. If that is the end of the loop, it Is ErrLoopClosed.
	ConnectionLost(err error)

	// PauseWriting is called, from inside Write, when more bytes wait to be sent
	// than the high mark: whoever produces them should stop.
	PauseWriting()

	// ResumeWriting is called after PauseWriting, when no more bytes wait than the
	// low mark.
	ResumeWriting()
}

// A Protocol is told of the bytes that arrive on a Transport (asyncio.Protocol).
// Embed NopProtocol to implement only some of its methods.
type Protocol interface {
	BaseProtocol

	// DataReceived gets what has arrived, at least one byte. The memory is valid
	// only during the call.
	DataReceived(p []byte)

	// EOFReceived is called when the peer has ended its half of the connection. If
	// it returns false the transport is closed; if true, it can still be written to.
	EOFReceived() (keepOpen bool)
}

// A BufferedProtocol provides the memory that bytes are read into
// (asyncio.BufferedProtocol). Embed NopProtocol for the methods of BaseProtocol and
// EOFReceived.
type BufferedProtocol interface {
	BaseProtocol

	// GetBuffer returns where to put the next bytes, at least one. hint is about
	// how many there might be, -1 if that is not known.
	GetBuffer(hint int) []byte

	// BufferUpdated says that n bytes have been put at the beginning of the buffer
	// that GetBuffer returned last.
	BufferUpdated(n int)

	// EOFReceived is as in Protocol.
	EOFReceived() (keepOpen bool)
}

// NopProtocol has the methods of Protocol, which do nothing, to be embedded. Its
// EOFReceived returns false.
type NopProtocol struct{}

// ConnectionMade does nothing.
func (NopProtocol) ConnectionMade(*Transport) {}

// ConnectionLost does nothing.
func (NopProtocol) ConnectionLost(error) {}

// PauseWriting does nothing.
func (NopProtocol) PauseWriting() {}

// ResumeWriting does nothing.
func (NopProtocol) ResumeWriting() {}

// DataReceived does nothing.
func (NopProtocol) DataReceived([]byte) {}

// EOFReceived lets the transport be closed.
func (NopProtocol) EOFReceived() bool { return false }
