package brokertest

import (
	"cmp"
	"os"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/parleybus/parley/internal/topology"
)

// Crowd writes PARLEY_STREAM (0) times a frame to the answers of conversations in the log of
// a shard, 200 for each.
func Crowd(b testing.TB, js jetstream.JetStream, shards, shard int, frame []byte) {
	b.Helper()
	messages, err := strconv.Atoi(cmp.Or(os.Getenv("PARLEY_STREAM"), "0"))
	if err != nil {
		b.Fatal(err)
	}
	for written := 0; written < messages; {
		id := nuid.Next()
		if topology.ShardOf(id, shards) != shard {
			continue
		}
		subject := topology.At(shards, id, "gen").Subject(topology.Conv)
		for range 200 {
			if _, err := js.PublishAsync(subject, frame); err != nil {
				b.Fatal(err)
			}
			written++
		}
	}
	<-js.PublishAsyncComplete()
}
