// Package asyncio is Python's asyncio for Go: an event loop that runs many tasks
// on one thread, with network I/O, and no locks.
//
// State changes only where a task awaits. So the code between two awaits is atomic,
// data races are impossible by construction, and the order in which tasks run is
// defined: it is that of CPython's asyncio, event for event.
//
// # Run
//
// A coroutine is an ordinary function with a context. Calling it is awaiting it; it
// may call any function, and that may await. [Run] makes a loop and runs one:
//
//	func main() {
//		err := asyncio.Run(context.Background(), func(ctx context.Context) error {
//			fmt.Println("Hello world!")
//			if err := asyncio.Sleep(ctx, time.Second); err != nil {
//				return err
//			}
//			fmt.Println("Hello again!")
//			return nil
//		})
//		...
//	}
//
// The context marks what can suspend: a function without one never does.
//
// # Tasks
//
// [CreateTask] and [Go] run a coroutine concurrently, from the next pass of the
// loop on; [Task.Await] waits for its value. A [TaskGroup] ties lives together: all its
// tasks end before [WithTaskGroup] returns, and the first failure cancels the rest.
// [Gather], [Wait] and [AsCompleted] wait for several; a [Future] is a value that
// somebody else will provide.
//
// # Cancelling
//
// [Task.Cancel] cancels the context of a task. An await that is suspended, or would
// suspend, cancels what it waits for and returns an error that Is [ErrCancelled]; the
// coroutine returns it. As with any context it stays cancelled: code that has to await
// for its clean-up takes a [CleanupContext]. Cancelling who waits for a task cancels that
// task, too; [Shield] prevents it. [Timeout] is a cancellation that becomes [ErrTimeout] at
// the edge of its own function. Nothing that was taken from a queue, read from a
// connection or granted by a lock is ever lost by a cancellation.
//
// # Streams
//
// [OpenConnection] and [StartServer] give a [StreamReader] and a [StreamWriter]. Reading
// suspends until bytes are there. Writing never suspends: it keeps what there is no room
// for, and [StreamWriter.Drain] waits until the peer has caught up.
//
// [NetConn] makes a stream a net.Conn, for code that knows no loop.
//
// # Protocols, datagrams, processes, signals
//
// A [Protocol] is told of what happens on a connection by callbacks, and needs no
// task: [CreateConnection], [CreateServer]. Datagrams come as callbacks
// ([CreateDatagramEndpoint]) or to tasks ([OpenDatagramEndpoint]). [RunProcess],
// [WithProcess] and [CreateSubprocessExec] run programs. [NotifySignals] and
// [EventLoop.AddSignalHandler] receive signals. For descriptors and sockets that the
// program has made itself there are [EventLoop.AddReader] and [SockRecv] and its kin.
//
// # What the scheduler promises
//
// A loop repeats one pass: poll the network, queue what is ready there, queue the
// timers that are due by deadline and then creation, and run exactly the callbacks that
// are queued by then, first come, first served. Awaiting what is done already, taking a
// free lock or draining an empty buffer does not give up the turn; [Yield] gives up exactly
// one pass. The order in which descriptors become ready within one poll is the kernel's,
// and not promised. See [EventLoop].
//
// # Threads
//
// A loop and all its tasks run on one thread of the system, which is locked from the
// first run until Close. Code that blocks would block all of them: hand it to [ToThread].
// From other goroutines there are doors: [EventLoop.CallSoonThreadsafe],
// [RunCoroutineThreadsafe], an [Inbox], a [Promise], Go's channels by [Receive] and
// [Send], a [NetConn]; anything else is refused with a [UsageError] that says so. A
// coroutine must not change its own thread lock, by runtime.LockOSThread or within a
// callback from C, across an await. More than one core takes more than one loop.
//
// # Errors
//
// What goes wrong in the world is an error of the operation, the standard library's
// where that has one: net.OpError, io.EOF, net.ErrClosed, context.Canceled. A mistake of
// the caller is a [UsageError]; functions without an error result panic with it. A panic in
// a task becomes a [PanicError]. A failure that nobody awaits goes to the exception handler,
// which logs it, at the latest when the loop is closed.
package asyncio
