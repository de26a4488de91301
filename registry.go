// Registries: what lives on a loop, in the order of creation.

package asyncio

import "runtime"

// A registry lists objects that belong to a loop: its tasks, its connections.
// It is ordered, so that whatever walks it does so in the same order in every
// run. Adding and removing allocate nothing.
type registry struct {
	first, last *registered
	count       int
	sites       map[*registered][]uintptr // where they were added, if that is recorded
}

// registered is the link that an object in a registry embeds.
type registered struct {
	prev, next *registered
	owner      any // nil while it is in no registry
}

func (r *registry) add(e *registered, owner any) {
	e.owner = owner
	e.prev, e.next = r.last, nil
	if r.last != nil {
		r.last.next = e
	} else {
		r.first = e
	}
	r.last = e
	r.count++
	if r.sites != nil {
		pcs := make([]uintptr, siteFrames)
		r.sites[e] = pcs[:runtime.Callers(2, pcs)]
	}
}

const siteFrames = 32

// record makes the registry remember where things are added.
func (r *registry) record() { r.sites = make(map[*registered][]uintptr) }

func (r *registry) remove(e *registered) {
	if e.owner == nil {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		r.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		r.last = e.prev
	}
	*e = registered{}
	r.count--
	delete(r.sites, e)
}

// owners returns everything in the registry, the oldest first.
func (r *registry) owners() []any {
	all := make([]any, 0, r.count)
	for e := r.first; e != nil; e = e.next {
		all = append(all, e.owner)
	}
	return all
}
