package bus_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
)

// TestALogThatGrowsHasNotLostItsEnd: a new owner looks at HISTORY and at CONV one
// after the other, while others write.
func TestALogThatGrowsHasNotLostItsEnd(t *testing.T) {
	t.Parallel()
	s := start(t)
	var out lockedBuffer
	join(t, s.URL()) // sets up
	b, err := bus.Connect(t.Context(), bus.Config{URL: s.URL(), Log: slog.New(slog.NewTextHandler(&out, nil))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	for range 4 {
		writing.Go(func() {
			c := b.Conversation(id())
			for ctx.Err() == nil {
				input := id()
				_, _ = c.Publish(ctx, input, &events.UserMessage{ID: input, Text: "hello"}) // ends with ctx
			}
		})
	}
	for range 40 { // each compares facts, one request for each
		if _, err := b.Shard(0).Restore(t.Context()); err != nil {
			t.Error(err)
			break
		}
		behind, err := b.Deployment().HistoryBehind(t.Context())
		if err != nil || len(behind) != 1 || behind[0].Diverging {
			t.Errorf("%+v, %v", behind, err)
			break
		}
	}
	stop()
	writing.Wait()
	if text := out.String(); strings.Contains(text, "lost its end") {
		t.Errorf("the log was repaired: %.300s", text)
	}
}

// lockedBuffer is a buffer that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
