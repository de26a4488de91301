// The file format: programs, with the traces that they have to produce.

package conformance_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A program is a set of coroutines, each a list of ops, and what CPython made of
// them.
type program struct {
	Name       string
	Objects    map[string]object
	Coroutines map[string][]op
	Trace      []event
	Final      map[string]string // the state of each future and task at the end
}

// An object is what tasks share: a lock, a queue.
type object struct {
	Type string
	N    int // the value, the number of parties, the maximum size or the limit
}

// An op is the name of an operation and its arguments.
type op []any

func (o op) text(i int) string { s, _ := o[i].(string); return s }
func (o op) bool(i int) bool   { return o[i].(bool) }
func (o op) number(i int) int  { return int(o[i].(float64)) }
func (o op) value(i int) any   { return o.number(i) }
func (o op) op(i int) op       { return o[i].([]any) }
func (o op) missing(i int) bool {
	return i >= len(o) || o[i] == nil
}

// seconds returns a duration, or otherwise if there is none.
func (o op) seconds(i int, otherwise time.Duration) time.Duration {
	if o.missing(i) {
		return otherwise
	}
	return time.Duration(o.number(i)) * time.Second
}

func (o op) names(i int) []string {
	var names []string
	for _, name := range o[i].([]any) {
		names = append(names, name.(string))
	}
	return names
}

func (o op) block(i int) []op { return block(o[i]) }

func block(v any) []op {
	list, _ := v.([]any)
	ops := make([]op, len(list))
	for i, o := range list {
		ops[i] = o.([]any)
	}
	return ops
}

// An event is a line of a trace: when, which task, what.
type event struct {
	at        int
	who, what string
}

func (e event) String() string { return fmt.Sprintf("%3d %-5s %s", e.at, e.who, e.what) }

func (e *event) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&e.at, &e.who, &e.what})
}

// load reads the programs of a file, which may be compressed.
func load(name string) ([]program, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = bufio.NewReader(f)
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	var programs []program
	for d := json.NewDecoder(r); ; {
		var p program
		switch err := d.Decode(&p); err {
		case nil:
			programs = append(programs, p)
		case io.EOF:
			return programs, nil
		default:
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
}
