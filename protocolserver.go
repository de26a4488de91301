// Servers of protocols: no task for a connection.

package asyncio

import "context"

// CreateServer listens at address, as StartServer does, and gives each connection to
// a protocol of its own, which factory makes (loop.create_server,
// loop.create_unix_server). The protocol has to be a Protocol or a BufferedProtocol.
// A panic of factory ends that connection only, and goes to the exception handler.
func CreateServer[P BaseProtocol](ctx context.Context, network, address string, factory func() P, opts *ServerOptions) (*Server, error) {
	if factory == nil {
		return nil, misuse("CreateServer", ErrBadArgument, "the factory is nil")
	}
	if opts != nil && opts.Limit != 0 {
		return nil, misuse("CreateServer", ErrBadArgument, "a limit of lines, which only streams have")
	}
	return newServer(ctx, "CreateServer", network, address, protocolReception(func() BaseProtocol { return factory() }), opts)
}

// A protocolReception serves connections by the protocols that it makes.
type protocolReception func() BaseProtocol

func (protocolReception) receive(l *EventLoop, network string) *transport {
	return &newTransport(l, network).tr
}

func (protocolReception) needsTask() bool { return false }

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
	c.begin(nil)
	return nil
}
