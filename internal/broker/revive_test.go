package broker

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestJetStreamStartsAgain: a server that could not store a message starts
// JetStream again by itself, its clients stay connected, and nothing that was
// acknowledged is lost.
func TestJetStreamStartsAgain(t *testing.T) {
	b, err := Start(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Stop() })
	nc, err := nats.Connect(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, MaxConsumers: -1}); err != nil {
		t.Fatal(err)
	}
	for name, breaks := range map[string]func(){
		"a stream could not write": func() {
			b.log.Errorf("JetStream failed to store a msg on stream '$G > S': write 1.blk: no space left on device")
		},
		"JetStream was disabled": func() {
			if err := b.server.ShutdownJetStream(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ack, err := js.Publish(ctx, "s", []byte(name))
			if err != nil {
				t.Fatal(err)
			}
			before := b.revivals.Load()
			breaks()
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for b.revivals.Load() == before {
				select {
				case <-tick.C:
				case <-ctx.Done():
					t.Fatal("JetStream was not started again")
				}
			}
			next, err := js.Publish(ctx, "s", nil)
			if err != nil || next.Sequence != ack.Sequence+1 {
				t.Errorf("%+v follows %d, %v", next, ack.Sequence, err)
			}
		})
	}
	if nc.Stats().Reconnects > 0 {
		t.Error("the connection was lost")
	}
}

func TestWriteFailures(t *testing.T) {
	for line, want := range map[string]bool{
		"JetStream failed to store a msg on stream '$G > S': write /x/1.blk: no space left on device": true,
		"JetStream stream '$G > S' critical write error: write: input/output error":                   true,
		"127.0.0.1:1234 - cid:1 - Slow Consumer Detected":                                             false,
	} {
		if got := writeFailed(line); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}

// TestWhatIsOnTheDiskWhenItIsAcknowledged: a test cannot cut the power; it checks
// what nats-server is configured with.
func TestWhatIsOnTheDiskWhenItIsAcknowledged(t *testing.T) {
	for _, always := range []bool{false, true} {
		b, err := Start(Config{Dir: t.TempDir(), SyncAlways: always})
		if err != nil {
			t.Fatal(err)
		}
		if js := b.server.JetStreamConfig(); js.SyncAlways != always || js.SyncInterval != time.Second {
			t.Errorf("with SyncAlways %t the server syncs always (%t) or each %s", always, js.SyncAlways, js.SyncInterval)
		}
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	}
}
