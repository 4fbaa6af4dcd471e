package host

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
)

// takeoverEvery is how often a process looks whether the server of its data
// directory has stopped.
const takeoverEvery = 100 * time.Millisecond

// successor takes over from the process that runs the server of a data directory
// when that process ends: it starts the server on the same data, and the roles.
// The connections of all others follow (see [Host.dial]).
type successor struct {
	host *Host
	done sync.WaitGroup
	stop context.CancelFunc
	own  *Session // the server and the roles; nil while another process has them
}

// succeed makes a session that joined a server its successor.
func (h *Host) succeed(ctx context.Context, s *Session) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.successor = &successor{host: h, stop: stop}
	ports := []int{0} // a free one
	if u, err := url.Parse(s.URL()); err == nil && u.Port() != "" {
		if port, err := strconv.Atoi(u.Port()); err == nil {
			ports = []int{port, 0}
		}
	}
	s.successor.done.Go(func() { s.successor.run(ctx, s, ports) })
}

// run waits until the server has stopped, and takes over.
func (t *successor) run(ctx context.Context, s *Session, ports []int) {
	h := t.host
	for logged := ""; bus.Pause(ctx, takeoverEvery); {
		if s.Connected() || Running(h.Dir) != "" {
			continue
		}
		own, err := h.serve(ctx, ports...)
		if err == nil {
			t.own = own
			h.Log.Warn("the process that ran the server has ended: this one runs it now", "server", own.Server())
			return
		}
		if !errors.Is(err, broker.ErrInUse) && err.Error() != logged && ctx.Err() == nil {
			logged = err.Error()
			h.Log.Warn("the server cannot be started here, trying again", "data", h.Dir, "error", err)
		}
	}
}

// close stops what was taken over.
func (t *successor) close() error {
	t.stop()
	t.done.Wait()
	if t.own == nil {
		return nil
	}
	return t.own.Close()
}
