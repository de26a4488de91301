// The log of the simulated network as a sequence chart.

package asynciotest

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"slices"
	"time"
)

// SVG draws the log as a sequence chart: a column for each host, downwards in time, and
// an arrow for each packet. What happens at the same time is at the same height; how
// long nothing happens makes no difference.
func (l NetworkLog) SVG() []byte {
	var b bytes.Buffer
	l.writeSVG(&b)
	return b.Bytes()
}

const (
	chartColumn = 220
	chartLeft   = 200
	chartTop    = 50
	chartRow    = 18
)

func (l NetworkLog) writeSVG(w io.Writer) {
	var hosts []*Host
	var times []time.Duration
	for _, e := range l {
		times = append(times, e.Time)
		if e.Of != 0 {
			times = append(times, e.Sent)
		}
		for _, h := range [...]*Host{e.From, e.To} {
			if h != nil && !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	slices.SortFunc(hosts, func(a, b *Host) int { return a.id - b.id })
	slices.Sort(times)
	times = slices.Compact(times)
	x := func(h *Host) int { return chartLeft + slices.Index(hosts, h)*chartColumn }
	y := func(t time.Duration) int {
		i, _ := slices.BinarySearch(times, t)
		return chartTop + (i+1)*chartRow
	}
	width, bottom := chartLeft+len(hosts)*chartColumn, chartTop+(len(times)+1)*chartRow
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="monospace" font-size="11">`+"\n", width, bottom+20)
	fmt.Fprintln(w, `<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="3" orient="auto"><path d="M0,0 L7,3 L0,6 z"/></marker></defs>`)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, bottom+20)
	for _, h := range hosts {
		fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="middle" font-weight="bold">%s</text>`+"\n", x(h), chartTop-20, html.EscapeString(h.name))
		fmt.Fprintf(w, `<line x1="%d" y1="%d" x2="%[1]d" y2="%d" stroke="silver"/>`+"\n", x(h), chartTop-10, bottom)
	}
	for _, t := range times {
		fmt.Fprintf(w, `<text x="8" y="%d" fill="gray">%v</text>`+"\n", y(t)+4, t)
	}
	for _, e := range l {
		e.draw(w, x, y)
	}
	fmt.Fprintln(w, "</svg>")
}

// draw draws an entry, where x and y say.
func (e LogEntry) draw(w io.Writer, x func(*Host) int, y func(time.Duration) int) {
	if e.Of == 0 {
		text := e.Kind.String()
		switch {
		case e.Text != "":
			text = e.Text
		case e.To != nil:
			text = fmt.Sprintf("%v -> %v %v", e.From, e.To, e.Kind)
		}
		fmt.Fprintf(w, `<circle cx="%d" cy="%d" r="3" fill="firebrick"/><text x="%d" y="%d" fill="firebrick">%s</text>`+"\n",
			x(e.From), y(e.Time), x(e.From)+6, y(e.Time)+4, html.EscapeString(text))
		return
	}
	x1, y1, x2, y2 := x(e.From), y(e.Sent), x(e.To), y(e.Time)
	label := e.Of.String()
	if e.Size > 0 {
		label += fmt.Sprintf(" %d", e.Size)
	}
	switch e.Kind {
	case PacketArrived:
		if x1 == x2 { // a host talks to itself
			x2 += 30
		}
		fmt.Fprintf(w, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="black" marker-end="url(#tip)"/>`+"\n", x1, y1, x2, y2)
	case PacketLost:
		x2, y2 = (x1+x2)/2, max(y1, y2)
		fmt.Fprintf(w, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="firebrick" stroke-dasharray="4"/><text x="%[3]d" y="%d" fill="firebrick">&#215;</text>`+"\n", x1, y1, x2, y2, y2+4)
	default: // its arrival is another entry
		fmt.Fprintf(w, `<text x="%d" y="%d" fill="steelblue">%v</text>`+"\n", x1+6, y1+4, e.Kind)
		return
	}
	fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="middle" fill="steelblue">%s</text>`+"\n", (x1+x2)/2, (y1+y2)/2-2, html.EscapeString(label))
}
