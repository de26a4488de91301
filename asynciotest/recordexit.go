// How processes have exited, in recordings.

package asynciotest

import (
	"encoding/binary"
	"errors"
	"os"
	"reflect"
)

// errExits is the error of a replay that cannot say how a process has exited.
var errExits = errors.New("asynciotest: the exit of a child process cannot be replayed with this release of Go, which keeps an os.ProcessState in another way")

// putExit writes what state consists of, as the system has told it.
func putExit(w tapeWriter, state *os.ProcessState) {
	status, _ := binary.Append(nil, binary.LittleEndian, state.Sys())
	var usage []byte
	if u := state.SysUsage(); u != nil && !reflect.ValueOf(u).IsZero() {
		usage, _ = binary.Append(nil, binary.LittleEndian, u)
	}
	w.u(uint64(state.Pid()))
	w.bytes(status)
	w.bytes(usage)
}

// takeExit takes the parts of an os.ProcessState and puts them together. Package os
// has no function for that, and so it is done by the names of the fields, if there are
// such.
func takeExit(r tapeReader) *os.ProcessState {
	pid, status, usage := r.u(), r.bytes(), r.bytes()
	state := new(os.ProcessState)
	fields := reflect.ValueOf(state).Elem()
	set := func(name string, value reflect.Value) bool {
		f := fields.FieldByName(name)
		if !f.IsValid() || f.Type() != value.Type() {
			return false
		}
		reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Elem().Set(value)
		return true
	}
	// decoded returns a new value of what a method of state returns the type of.
	decoded := func(t reflect.Type, p []byte) reflect.Value {
		v := reflect.New(t)
		if n, err := binary.Decode(p, binary.LittleEndian, v.Interface()); err != nil || n != len(p) {
			r.broken("the exit of a process has a part of %d bytes", len(p))
		}
		return v
	}
	known := set("pid", reflect.ValueOf(int(pid))) &&
		set("status", decoded(reflect.TypeOf(state.Sys()), status).Elem())
	if len(usage) > 0 {
		of := reflect.TypeOf(state.SysUsage())
		known = known && of.Kind() == reflect.Pointer && set("rusage", decoded(of.Elem(), usage))
	}
	if !known {
		r.fail(errExits)
	}
	return state
}
