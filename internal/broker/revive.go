package broker

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// reviveEvery is the interval of the checks.
	reviveEvery = 500 * time.Millisecond
	// reviveFull is the interval at which JetStream is restarted if it is at
	// its limit: the limit depends on the free space at its start.
	reviveFull = 30 * time.Second
	// reviveSpace is the free space required before JetStream is restarted, in
	// bytes: each stream writes a little during recovery.
	reviveSpace = 1 << 20
)

// revive restarts JetStream after it stopped storing messages, as soon as the
// disk is writable. nats-server 2.15 does not do so itself: a stream that could
// not write a message never stores another one, and after some errors the
// server disables JetStream completely. Connections stay open, and acknowledged
// messages are read from disk.
func (b *Broker) revive(cfg Config) {
	defer close(b.revived)
	tick := time.NewTicker(reviveEvery)
	defer tick.Stop()
	for began := time.Now(); ; {
		select {
		case <-b.stop:
			return
		case <-tick.C:
		}
		enabled := b.server.JetStreamEnabled()
		full := b.log.full.Load() && time.Since(began) > reviveFull
		if enabled && !full && !b.log.failed.Load() {
			continue
		}
		began = time.Now()
		if err := tryWrite(cfg.Dir); err != nil {
			cfg.Log.Debug("JetStream stays stopped: the data directory cannot be written", "dir", cfg.Dir, "error", err)
			continue
		}
		b.log.failed.Store(false)
		b.log.full.Store(false)
		if enabled {
			// It fails only if the server shuts down.
			_ = b.server.ShutdownJetStream()
		}
		err := b.server.EnableJetStream(&server.JetStreamConfig{StoreDir: cfg.Dir, MaxStore: maxStore, SyncAlways: cfg.SyncAlways, SyncInterval: syncInterval})
		if err != nil {
			cfg.Log.Warn("JetStream cannot be started again, trying again", "dir", cfg.Dir, "error", err)
			continue
		}
		b.revivals.Add(1)
		cfg.Log.Warn("JetStream was started again after messages could not be stored", "dir", cfg.Dir)
	}
}

// atLimit reports whether a line of the server's log says that JetStream has
// reached its storage limit.
func atLimit(line string) bool { return strings.Contains(line, "resource limits exceeded for server") }

// tryWrite returns the error of writing a file to a directory.
func tryWrite(dir string) error {
	f, err := os.Create(filepath.Join(dir, "space"))
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, reviveSpace))
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if removing := os.Remove(f.Name()); err == nil {
		err = removing
	}
	return err
}

// writeFailed reports whether a line of the server's log reports a failed
// write.
func writeFailed(line string) bool {
	for _, words := range []string{"no space left", "critical write error", "failed to store a msg", "input/output error", "disk quota exceeded", "read-only file system"} {
		if strings.Contains(line, words) {
			return true
		}
	}
	return false
}
