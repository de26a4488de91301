// chat is a chat server on a Unix socket, with rooms and names. It runs with four
// clients of its own, one of which never reads what the others say.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goasyncio/asyncio"
)

// patience is how much may wait for a client before it is taken for too slow.
const patience = 64 << 10

// A member is a client that has told its name.
type member struct {
	name, room string
	writer     *asyncio.StreamWriter
}

// A chat is its members. All tasks run on one thread, so it needs no lock.
type chat struct{ members []*member }

// say sends a line to everybody in a room. It never waits: who does not read is
// dropped, and holds up nobody.
func (c *chat) say(room, format string, args ...any) {
	line := fmt.Sprintf(format, args...) + "\n"
	for _, m := range c.members {
		if m.room != room {
			continue
		}
		m.writer.WriteString(line)
		if m.writer.Buffered() > patience {
			m.writer.Abort() // its task notices, and says good-bye
		}
	}
}

// enter lets a client tell its name, which must be free.
func (c *chat) enter(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) (*member, error) {
	for {
		line, err := r.ReadLine(ctx)
		if err != nil {
			return nil, err
		}
		name := string(bytes.TrimSpace(line))
		taken := slices.ContainsFunc(c.members, func(m *member) bool { return m.name == name })
		if name != "" && !taken {
			m := &member{name, "lobby", w}
			c.members = append(c.members, m)
			return m, nil
		}
		fmt.Fprintf(w, "* the name %q is taken, try another\n", name)
	}
}

// serve is the task of one client.
func (c *chat) serve(ctx context.Context, r *asyncio.StreamReader, w *asyncio.StreamWriter) error {
	m, err := c.enter(ctx, r, w)
	if err != nil {
		return nil // it has left before it told its name
	}
	defer func() {
		c.members = slices.DeleteFunc(c.members, func(other *member) bool { return other == m })
		c.say(m.room, "* %s has left", m.name)
	}()
	c.say(m.room, "* %s comes into the %s", m.name, m.room)
	for line, err := range r.Lines(ctx) {
		if err != nil {
			return nil // it has left without a word, or was dropped
		}
		text := string(bytes.TrimSpace(line))
		room, moves := strings.CutPrefix(text, "/join ")
		switch {
		case moves:
			left := m.room
			m.room = room
			c.say(left, "* %s goes to the %s", m.name, room)
			c.say(room, "* %s comes into the %s", m.name, room)
		case text != "":
			c.say(m.room, "%s: %s", m.name, text)
		}
	}
	return nil
}

// A client is the other end.
type client struct {
	name   string
	reader *asyncio.StreamReader
	writer *asyncio.StreamWriter
}

func connect(ctx context.Context, path, name string) (*client, error) {
	r, w, err := asyncio.OpenConnection(ctx, "unix", path, nil)
	if err != nil {
		return nil, err
	}
	c := &client{name, r, w}
	c.say(name)
	return c, nil
}

func (c *client) say(line string) { c.writer.WriteString(line + "\n") }

// hear reads until a line has come that contains one of the texts, and returns that
// text. It prints what it hears.
func (c *client) hear(ctx context.Context, texts ...string) (string, error) {
	for {
		line, err := c.reader.ReadLine(ctx)
		if err != nil {
			return "", fmt.Errorf("%s waits for %q: %w", c.name, texts, err)
		}
		heard := string(bytes.TrimSpace(line))
		if !strings.Contains(heard, chatter) {
			fmt.Printf("%s hears  %s\n", c.name, heard)
		}
		for _, text := range texts {
			if strings.Contains(heard, text) {
				return text, nil
			}
		}
	}
}

var chatter = strings.Repeat("bla", 1000)

func ann(ctx context.Context, c *client) error {
	if _, err := c.hear(ctx, "* Bob comes into the lobby"); err != nil {
		return err
	}
	c.say("hello Bob, meet me in the garden")
	c.say("/join garden")
	if _, err := c.hear(ctx, "* Bob comes into the garden"); err != nil {
		return err
	}
	c.say("how nice and quiet it is here")
	_, err := c.hear(ctx, "Bob: good-bye")
	return err
}

func bob(ctx context.Context, c *client) error {
	if _, err := c.hear(ctx, "* Ann goes to the garden"); err != nil {
		return err
	}
	c.say("/join garden")
	if _, err := c.hear(ctx, "quiet"); err != nil {
		return err
	}
	c.say("good-bye")
	_, err := c.hear(ctx, "good-bye")
	return err
}

// cyd talks until the one who does not listen is gone. She does listen, to herself.
func cyd(ctx context.Context, c *client) error {
	if _, err := c.hear(ctx, "* Dan comes into the lobby"); err != nil {
		return err
	}
	c.say("/join cellar")
	if _, err := c.hear(ctx, "* Dan comes into the cellar"); err != nil {
		return err
	}
	for {
		c.say(chatter)
		switch heard, err := c.hear(ctx, chatter, "* Dan has left"); {
		case err != nil:
			return err
		case heard != chatter:
			return nil
		}
	}
}

// dan follows to the cellar, and reads nothing there.
func dan(ctx context.Context, c *client) error {
	if _, err := c.hear(ctx, "* Cyd goes to the cellar"); err != nil {
		return err
	}
	c.say("/join cellar")
	return asyncio.Sleep(ctx, time.Hour)
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "chat")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "socket")
	server, err := asyncio.StartServer(ctx, "unix", path, new(chat).serve, nil)
	if err != nil {
		return err
	}
	// Each of the two parties is over when the first of its names has heard it all.
	if err := party(ctx, path, "Ann", ann, "Bob", bob); err != nil {
		return err
	}
	if err := party(ctx, path, "Cyd", cyd, "Dan", dan); err != nil {
		return err
	}
	return server.Shutdown(ctx)
}

// party runs two clients until the first one is done.
func party(ctx context.Context, path, one string, first script, two string, second script) error {
	c, err := connect(ctx, path, one)
	if err != nil {
		return err
	}
	defer c.writer.Close()
	if _, err := c.hear(ctx, "* "+one+" comes"); err != nil {
		return err
	}
	d, err := connect(ctx, path, two)
	if err != nil {
		return err
	}
	defer d.writer.Close()
	other := asyncio.Go(ctx, func(ctx context.Context) error { return second(ctx, d) })
	defer other.Cancel(nil)
	return first(ctx, c)
}

// A script is what a client does.
type script func(ctx context.Context, c *client) error

func main() {
	if err := asyncio.Run(context.Background(), run); err != nil {
		log.Fatal(err)
	}
}
