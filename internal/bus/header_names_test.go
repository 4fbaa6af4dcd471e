package bus

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/parleybus/parley/internal/topology"
)

// TestServerHeaders compares the headers that nats.go does not export with the
// server's own names.
func TestServerHeaders(t *testing.T) {
	t.Parallel()
	if topology.HeaderOperation != server.KVOperation {
		t.Errorf("the header of a deleted key is %s, not %s", server.KVOperation, topology.HeaderOperation)
	}
	if topology.HeaderSource != server.JSStreamSource {
		t.Errorf("the header of a copy's origin is %s, not %s", server.JSStreamSource, topology.HeaderSource)
	}
}
