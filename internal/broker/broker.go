// Package broker runs a NATS server with JetStream inside the process, for a
// laptop, a demo and the tests. Its data survives the process. A lock file
// ensures that only one server at a time uses a data directory.
package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/filelock"
)

// ErrInUse is returned if another process runs a server on the data directory.
var ErrInUse = errors.New("data directory is in use")

// AddressFile is the file in a data directory with the address and the token of the
// server that runs there. The one who starts the server writes it. [Start] removes
// that of an earlier server: while the directory is locked, the file is of the process
// that has locked it.
const AddressFile = "server.json"

// ErrPort is returned if another program listens on the port.
var ErrPort = errors.New("cannot be had")

// Config configures a server.
type Config struct {
	// Dir is the data directory; it is created if it does not exist.
	Dir string
	// Port on the loopback interface; 0 lets the system choose one, -1 means no
	// listener.
	Port int
	// Token is what clients authenticate with. Without one every local process can
	// connect.
	Token string
	// SyncAlways syncs every message to disk before it is acknowledged. By
	// default the disk may lag by a second, which matters only on power loss.
	SyncAlways bool
	// Log receives the server's warnings and errors; nil discards them.
	Log *slog.Logger
}

// Broker is a running server.
type Broker struct {
	server  *server.Server
	token   string
	lock    *os.File
	log     *logger
	stop    chan struct{} // closed by Stop
	revived chan struct{} // closed when revive has ended

	revivals atomic.Int64 // number of restarts of JetStream
}

// maxStore is the limit of JetStream's storage, in bytes: only the disk. By
// default the server uses three quarters of the free space at its start, and
// keeps that limit when space is freed.
const maxStore = 1 << 50

// Start starts a server and blocks until it is ready. The caller must call
// Stop.
func Start(cfg Config) (*Broker, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	if err := private(cfg.Dir); err != nil {
		return nil, err
	}
	held, err := acquire(filepath.Join(cfg.Dir, lockFile))
	if errors.Is(err, ErrInUse) {
		return nil, fmt.Errorf("%w: %s; use that server, stop it, or give another --data", ErrInUse, cfg.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the data directory %s: %w; make it writable or give another --data", cfg.Dir, err)
	}
	b := &Broker{lock: held, token: cfg.Token}
	err = os.Remove(filepath.Join(cfg.Dir, AddressFile))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = b.start(cfg)
	}
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	b.stop, b.revived = make(chan struct{}), make(chan struct{})
	go b.revive(cfg)
	return b, nil
}

// syncInterval bounds how far the disk may lag behind acknowledged messages.
const syncInterval = time.Second

func (b *Broker) start(cfg Config) error {
	opts := &server.Options{
		ServerName: "parley", Host: "127.0.0.1", Authorization: b.token, NoSigs: true, NoLog: false,
		JetStream: true, StoreDir: cfg.Dir, JetStreamMaxStore: maxStore,
		SyncAlways: cfg.SyncAlways, SyncInterval: syncInterval,
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: -1},
		DontListen:      cfg.Port < 0,
	}
	switch {
	case cfg.Port == 0: // the server keeps the port that the system gives it
		opts.Port = server.RANDOM_PORT
	case cfg.Port > 0:
		if err := checkPort(cfg.Port); err != nil {
			return err
		}
		opts.Port = cfg.Port
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("configure the embedded server: %w", err)
	}
	log := &logger{log: cfg.Log, fatal: make(chan string, 1)}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	b.server, b.log = s, log
	deadline := time.Now().Add(30 * time.Second)
	for !s.ReadyForConnections(100 * time.Millisecond) {
		select {
		case why := <-log.fatal:
			b.shutdown()
			return fmt.Errorf("the embedded server did not start: %s", why)
		default:
		}
		if time.Now().After(deadline) {
			b.shutdown()
			return fmt.Errorf("the embedded server was not ready after 30 s; its data is in %s", cfg.Dir)
		}
	}
	if !s.JetStreamEnabled() {
		b.shutdown()
		return fmt.Errorf("the embedded server has no JetStream: check that %s can be written and has space", cfg.Dir)
	}
	return nil
}

// checkPort returns an error if another program listens on a port.
func checkPort(port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("port %d on 127.0.0.1 %w (%w): another server runs there; stop it, or use --port 0 for a free one", port, ErrPort, err)
	}
	return l.Close()
}

// lockFile is the file that a server has locked while it runs.
const lockFile = "lock"

// Locked reports whether a server has locked a data directory.
func Locked(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	taken, err := filelock.LockShared(f)
	_ = f.Close() // releases the lock
	return taken && err == nil
}

func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	taken, err := filelock.Lock(f)
	if taken {
		err = ErrInUse
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Address returns the address of the server without its token; empty if it has no
// listener.
func (b *Broker) Address() string {
	if b.server.Addr() == nil {
		return ""
	}
	return b.server.ClientURL()
}

// URL returns the address with the token, if there is one, for clients; empty if the
// server has no listener.
func (b *Broker) URL() string { return WithToken(b.Address(), b.token) }

// WithToken returns the address of a server with its token.
func WithToken(address, token string) string {
	u, err := url.Parse(address)
	if err != nil || address == "" || token == "" {
		return address
	}
	u.User = url.User(token)
	return u.String()
}

// Token is what clients authenticate with.
func (b *Broker) Token() string { return b.token }

// ID identifies the server: it is new at each start, and the server sends it before
// a client has to authenticate.
func (b *Broker) ID() string { return b.server.ID() }

// InProcess returns an option that connects without a socket. It replaces all
// credentials, which are for other servers.
func (b *Broker) InProcess() nats.Option {
	return func(o *nats.Options) error {
		Authenticate(o, func() string { return b.token })
		return nats.InProcessServer(b.server)(o)
	}
}

// Authenticate replaces the credentials of a connection by a token.
func Authenticate(o *nats.Options, token func() string) {
	o.User, o.Password, o.Token, o.Nkey = "", "", "", ""
	o.UserInfo, o.UserJWT, o.SignatureCB = nil, nil, nil
	o.TokenHandler = token
}

// Stop stops the server. Acknowledged messages are on disk.
func (b *Broker) Stop() error {
	close(b.stop)
	<-b.revived
	b.shutdown()
	return b.lock.Close()
}

func (b *Broker) shutdown() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// logger forwards the server's log. It catches Fatalf: an embedded server must
// not end the process.
type logger struct {
	log   *slog.Logger
	fatal chan string
	// failed is set if the server could not store a message, full if it has
	// reached its storage limit.
	failed, full atomic.Bool
}

func (l *logger) Noticef(string, ...any) {}
func (l *logger) Debugf(string, ...any)  {}
func (l *logger) Tracef(string, ...any)  {}
func (l *logger) Warnf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	l.note(line)
	l.log.Debug("nats-server: " + line)
}

func (l *logger) note(line string) {
	if writeFailed(line) {
		l.failed.Store(true)
	}
	if atLimit(line) {
		l.full.Store(true)
	}
}

func (l *logger) Errorf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	l.note(line)
	l.log.Warn("nats-server: " + line)
}

func (l *logger) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
}
