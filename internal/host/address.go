package host

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/broker"
)

// dialTimeout bounds connecting to the server of a data directory.
const dialTimeout = 5 * time.Second

// maxInfo bounds what a server says before a client authenticates, in bytes.
const maxInfo = 64 << 10

// address is the content of [broker.AddressFile].
type address struct {
	URL string `json:"url"` // without the token
	// Token is what clients authenticate with.
	Token string `json:"token"`
	// ServerID is what the server says of itself before a client authenticates.
	ServerID string `json:"server_id"`
	PID      int    `json:"pid"`
}

func writeAddress(dir string, b *broker.Broker) error {
	raw, err := json.Marshal(address{URL: b.Address(), Token: b.Token(), ServerID: b.ID(), PID: os.Getpid()})
	if err != nil {
		return err
	}
	// Others read the file while it changes: it is replaced as a whole. A file that is
	// left over may have another mode.
	name := filepath.Join(dir, broker.AddressFile)
	if err := os.Remove(name + ".new"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(name+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func removeAddress(dir string) error {
	if err := os.Remove(filepath.Join(dir, broker.AddressFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// addressIn returns the content of the address file; a zero address without one.
func addressIn(dir string) address {
	raw, err := os.ReadFile(filepath.Join(dir, broker.AddressFile))
	var a address
	if err != nil || json.Unmarshal(raw, &a) != nil {
		return address{}
	}
	return a
}

// errNotRunning reports that no server runs on a data directory.
var errNotRunning = errors.New("no server runs on the data directory")

// connect connects to the server that runs on a data directory, and returns the
// connection with what the server says first still to be read. Nothing is sent.
//
// After a crash the file is left, and another program may listen at its address and
// repeat the id that the server had. So the file must not have changed, and the
// directory must be locked, after the connection was made: then the process that
// wrote the file lives and listens there.
func connect(dir string) (address, net.Conn, error) {
	a := addressIn(dir)
	u, err := url.Parse(a.URL)
	if err != nil || u.Host == "" || a.Token == "" || !broker.Locked(dir) {
		return a, nil, errNotRunning
	}
	conn, err := net.DialTimeout("tcp", u.Host, dialTimeout)
	if err != nil {
		return a, nil, fmt.Errorf("%w: %w", errNotRunning, err)
	}
	conn, id, err := greeting(conn)
	if err == nil && (id != a.ServerID || !broker.Locked(dir) || addressIn(dir) != a) {
		err = errors.New("another server answers at its address")
	}
	if err != nil {
		_ = conn.Close() // nothing was sent
		return a, nil, fmt.Errorf("%w: %w", errNotRunning, err)
	}
	return a, conn, nil
}

// greeting reads the id in the first line of a NATS server, and returns a connection
// from which the line can be read again.
func greeting(conn net.Conn) (net.Conn, string, error) {
	if err := conn.SetReadDeadline(time.Now().Add(dialTimeout)); err != nil {
		return conn, "", err
	}
	in := bufio.NewReaderSize(conn, maxInfo)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return conn, "", err
	}
	var info struct {
		ID string `json:"server_id"`
	}
	fields, found := bytes.CutPrefix(line, []byte("INFO "))
	if !found || json.Unmarshal(fields, &info) != nil || info.ID == "" {
		return conn, "", errors.New("what answers is no NATS server")
	}
	all := io.MultiReader(bytes.NewReader(bytes.Clone(line)), in)
	return &greeted{conn, all}, info.ID, conn.SetReadDeadline(time.Time{})
}

// greeted is a connection of which something was read.
type greeted struct {
	net.Conn
	all io.Reader
}

// Read implements [io.Reader].
func (g *greeted) Read(p []byte) (int, error) { return g.all.Read(p) }

// running returns the address of the server that runs on a data directory.
func running(dir string) (address, error) {
	a, conn, err := connect(dir)
	if err != nil {
		return a, err
	}
	_ = conn.Close() // it was only a probe
	return a, nil
}

// Running returns the URL of the server that runs on a data directory, without its
// token; empty when none does, also after one crashed and left its file.
func Running(dir string) string {
	a, err := running(dir)
	if err != nil {
		return ""
	}
	return a.URL
}

// link connects to the server that runs on a data directory now: address and token
// change when another process takes over.
type link struct {
	dir   string
	learn func(token string)

	mu    sync.Mutex
	token string
}

func (l *link) dial(string, string) (net.Conn, error) {
	a, conn, err := connect(l.dir)
	if err != nil {
		return nil, err
	}
	l.learn(a.Token)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token = a.Token
	return conn, nil
}

// last returns the token of the server that dial has connected to.
func (l *link) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token
}

// option authenticates with the token. Other credentials are for other servers.
func (l *link) option(o *nats.Options) error {
	broker.Authenticate(o, l.last)
	return nil
}
