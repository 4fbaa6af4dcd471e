package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

func TestHowLongHistoryAndObjectsAreKept(t *testing.T) {
	t.Parallel()
	url := foreign(t, &server.Options{JetStream: true})
	const day = 24 * time.Hour
	for _, c := range []struct {
		name             string
		plan             topology.Plan
		history, objects time.Duration
		refused          string
	}{
		{name: "until they are deleted, without a setting in the plan"},
		{name: "as the plan sets it, also where they exist already", plan: topology.Plan{HistoryMaxAge: 90 * day, ObjectsMaxAge: 30 * day}, history: 90 * day, objects: 30 * day},
		{name: "as before, when a plan sets nothing", history: 90 * day, objects: 30 * day},
		{name: "one without the other", plan: topology.Plan{ObjectsMaxAge: 40 * day}, history: 90 * day, objects: 40 * day},
		{name: "not shorter than the log", plan: topology.Plan{HistoryMaxAge: day}, history: 90 * day, objects: 40 * day, refused: "--history-max-age 24h0m0s is shorter than the 168h0m0s"},
		{name: "nor are objects", plan: topology.Plan{MaxAge: 60 * day, ObjectsMaxAge: 50 * day}, history: 90 * day, objects: 40 * day, refused: "--objects-max-age"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := planned(t, url, c.plan, c.refused)
			defer b.Close()
			_, js := b.Raw()
			for stream, want := range map[string]time.Duration{topology.StreamHistory: c.history, "OBJ_" + topology.BucketObjects: c.objects, topology.ConvStream(0): 7 * day} {
				s, err := js.Stream(t.Context(), stream)
				if err != nil || s.CachedInfo().Config.MaxAge != want {
					t.Errorf("%s keeps for %s, %v; want %s", stream, s.CachedInfo().Config.MaxAge, err, want)
				}
			}
		})
	}
}

// planned sets a deployment up with a plan, which is refused with a text unless that is
// empty, and returns a connection to the deployment as it is then.
func planned(t *testing.T, url string, plan topology.Plan, refused string) *bus.Bus {
	t.Helper()
	// Wait: no further try gets past a wrong configuration.
	b, err := bus.Wait(within(t, 20*time.Second), bus.Config{URL: url}, &plan)
	if refused != "" {
		if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), refused) {
			t.Fatalf("%v; want %q", err, refused)
		}
		b, err = bus.Connect(t.Context(), bus.Config{URL: url}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHowManyBytesStreamsHold(t *testing.T) {
	t.Parallel()
	url := foreign(t, &server.Options{JetStream: true, JetStreamMaxStore: 8 << 30})
	const mb = 1 << 20
	for _, c := range []struct {
		name                   string
		plan                   topology.Plan
		conv, history, objects int64 // -1 without a bound
		refused                string
	}{
		{name: "without a bound, without a setting in the plan", plan: topology.Plan{Shards: 4}, conv: -1, history: -1, objects: -1},
		{name: "as the plan sets it, shared by the shards", plan: topology.Plan{MaxBytes: 1024 * mb, HistoryMaxBytes: 512 * mb, ObjectsMaxBytes: 100 * mb}, conv: 256 * mb, history: 512 * mb, objects: 100 * mb},
		{name: "as before, when a plan sets nothing", conv: 256 * mb, history: 512 * mb, objects: 100 * mb},
		{name: "one without the others", plan: topology.Plan{MaxBytes: 2048 * mb}, conv: 512 * mb, history: 512 * mb, objects: 100 * mb},
		{name: "not too little for open turns", plan: topology.Plan{MaxBytes: 100 * mb}, conv: 512 * mb, history: 512 * mb, objects: 100 * mb, refused: "--max-bytes 104857600 is less than 268435456 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := planned(t, url, c.plan, c.refused)
			defer b.Close()
			_, js := b.Raw()
			for stream, want := range map[string]int64{topology.ConvStream(0): c.conv, topology.ConvStream(3): c.conv, topology.StreamHistory: c.history, topology.ObjectStream: c.objects} {
				s, err := js.Stream(t.Context(), stream)
				if err != nil || s.CachedInfo().Config.MaxBytes != want {
					t.Errorf("%s holds %d bytes, %v; want %d", stream, s.CachedInfo().Config.MaxBytes, err, want)
				}
			}
		})
	}
}
