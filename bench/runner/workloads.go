// The workloads: what contenders are told to do, and what of it is the result.

package main

// A kind says how a workload is measured.
type kind int

const (
	task      kind = iota // the contender itself prints the result
	server                // a client loads the contender, and prints what it used
	tlsServer             // the same over TLS
	idle                  // connections are opened, and the contender's memory is read
	asleep                // memory is read once all tasks sleep
)

// A workload is what contenders are told to do.
type workload struct {
	group string
	name  string
	unit  string
	kind  kind
	args  []string // its word and arguments; of a server, none but the word
	load  []string // of a server: connections, and bytes of a message
	key   string   // of the result that is wanted
	both  bool     // it may use all processors, since it has two threads
	most  int      // rounds, if that is not zero
}

// words are what the workload is called by contenders that have several forms of it.
func (w *workload) words() []string {
	if w.kind == server || w.kind == idle {
		return []string{"echo", "echo-proto"}
	}
	return w.args[:1]
}

const (
	groupTasks   = "Tasks"
	groupThreads = "Between threads"
	groupTimers  = "Timers"
	groupServers = "Echo servers"
	groupMemory  = "Memory"
)

// The sleeping tasks whose memory is read sleep longer than any contender needs to
// create them. They are never awaited.
const (
	sleepers    = "1000000"
	sleep       = "600"
	connections = "10000"
)

var all = []*workload{
	{group: groupTasks, name: "spawn and await", args: []string{"spawn", "300000"}, unit: "ns", key: "ns"},
	{group: groupTasks, name: "spawn and await, another task ready", args: []string{"spawnbusy", "200000"}, unit: "ns", key: "ns"},
	{group: groupTasks, name: "gather 100,000 tasks, per task", args: []string{"gather", "100000"}, unit: "ns", key: "ns"},
	{group: groupTasks, name: "yield among 100 tasks", args: []string{"yield", "100", "5000"}, unit: "ns", key: "ns"},
	{group: groupTasks, name: "ping-pong over queues of 1, per message", args: []string{"pingpong", "300000"}, unit: "ns", key: "ns"},
	{group: groupTasks, name: "producer to consumer over a queue of 100", args: []string{"prodcons", "500000"}, unit: "ns", key: "ns"},
	{group: groupTasks, name: "lock contended by 10 tasks", args: []string{"lock", "10", "20000"}, unit: "ns", key: "ns"},
	{group: groupTasks, name: "timeout around a call", args: []string{"timeout", "200000"}, unit: "ns", key: "ns"},
	{group: groupTasks, name: "timeout around a yield", args: []string{"timeouty", "200000"}, unit: "ns", key: "ns"},
	{group: groupTasks, name: "chain of callbacks", args: []string{"callsoon", "500000"}, unit: "ns", key: "ns"},

	{group: groupThreads, name: "post from another thread", args: []string{"xpost", "300000"}, unit: "ns", key: "ns", both: true},
	{group: groupThreads, name: "round trip between threads", args: []string{"xrtt", "20000"}, unit: "ns", key: "ns", both: true},
	{group: groupThreads, name: "round trip between threads, on one core", args: []string{"xrtt", "20000"}, unit: "ns", key: "ns"},

	{group: groupTimers, name: "CPU time per sleeping task, 100,000 within a second", args: []string{"timers", "100000"}, unit: "ns", key: "ns"},
	{group: groupTimers, name: "how late 99 % wake up at most, 10,000 within a second", args: []string{"timers", "10000"}, unit: "µs", key: "late99"},

	{group: groupServers, name: "64 B, 50 connections", kind: server, args: []string{"echo"}, load: []string{"50", "64"}, unit: "µs of CPU time per request", key: "cpu"},
	{group: groupServers, name: "64 B, 500 connections", kind: server, args: []string{"echo"}, load: []string{"500", "64"}, unit: "µs of CPU time per request", key: "cpu"},
	{group: groupServers, name: "16 KiB, 50 connections", kind: server, args: []string{"echo"}, load: []string{"50", "16384"}, unit: "µs of CPU time per request", key: "cpu"},
	{group: groupServers, name: "128 KiB, 50 connections", kind: server, args: []string{"echo"}, load: []string{"50", "131072"}, unit: "µs of CPU time per request", key: "cpu"},
	{group: groupServers, name: "TLS, 64 B, 50 connections", kind: tlsServer, args: []string{"tls"}, load: []string{"50", "64"}, unit: "µs of CPU time per request", key: "cpu"},

	{group: groupMemory, name: "a sleeping task, of a million", kind: asleep, args: []string{"sleep", sleepers, sleep}, unit: "bytes", most: 2},
	{group: groupMemory, name: "a timer with a callback, of a million", kind: asleep, args: []string{"sleepcb", sleepers, sleep}, unit: "bytes", most: 2},
	{group: groupMemory, name: "an idle TCP connection, of 10,000", kind: idle, args: []string{"echo"}, load: []string{connections}, unit: "bytes", key: "bytes", most: 2},
}
