// What the loops of a network log, as a part of the log of the test.

package asynciotest

import (
	"io"
	"os"
	"testing"

	"github.com/goasyncio/asyncio"
)

// logTo makes t the test that takes what loops log from now on; nil ends that.
func (n *Network) logTo(t testing.TB) {
	n.testMu.Lock()
	defer n.testMu.Unlock()
	n.test = t
}

// logging returns the options by which the loop of p logs to the test, if there is one.
func (p *Program) logging() []asyncio.RunOption {
	n := p.host.net
	n.testMu.Lock()
	defer n.testMu.Unlock()
	if n.test == nil {
		return nil
	}
	return []asyncio.RunOption{asyncio.WithLogger(newLogger(programLog{p}, n.failTest))}
}

// A programLog writes lines to the log of the test. Any goroutine may do so.
type programLog struct{ program *Program }

func (l programLog) Write(line []byte) (int, error) {
	n := l.program.host.net
	n.testMu.Lock()
	defer n.testMu.Unlock()
	if n.test == nil { // it is over: what is late still has to appear somewhere
		return os.Stderr.Write(line)
	}
	e := LogEntry{Time: n.Now(), From: l.program.host, Kind: NoteTaken, Text: "(" + l.program.name + ") " + string(line)}
	if _, err := io.WriteString(n.test.Output(), e.String()); err != nil {
		return 0, err
	}
	return len(line), nil
}

// failTest fails the test that takes what loops log, if there is one.
func (n *Network) failTest() {
	n.testMu.Lock()
	defer n.testMu.Unlock()
	if n.test != nil {
		n.test.Fail()
	}
}
