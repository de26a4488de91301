// Servers of protocols: no task for a connection.

package asyncio

import "context"

// CreateServer listens at address, as StartServer does, and gives each connection to
// a protocol of its own, which factory makes (loop.create_server,
// loop.create_unix_server). The protocol has to be a Protocol or a BufferedProtocol.
// A panic of factory ends that connection only, and goes to the exception handler.
//
// No task serves a connection, so an idle one costs about 400 bytes, and what the
// protocol itself needs; with StartServer it is about 4 KB.
func CreateServer[P BaseProtocol](ctx context.Context, network, address string, factory func() P, opts *ServerOptions) (*Server, error) {
	var r reception
	if factory != nil {
		r = protocolReception(func() BaseProtocol { return factory() })
	}
	return newServer(ctx, "CreateServer", network, address, r, opts)
}

// A protocolReception serves connections by the protocols that it makes.
type protocolReception func() BaseProtocol

func (protocolReception) receive(l *EventLoop, from *origin) *transport {
	return &newTransport(l, from).tr
}

func (protocolReception) needsTask() bool { return false }

func (make protocolReception) code() codePlace { return placeOf(make) }

func (make protocolReception) serve(_ context.Context, tr *transport) (err error) {
	c := tr.consumer.(*Transport)
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: stack()}
		}
		if err != nil {
			tr.abort()
		}
	}()
	if err := c.adoptProtocol("CreateServer", make()); err != nil {
		return err
	}
	c.begin()
	return nil
}
