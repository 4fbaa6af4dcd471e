package bus

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// TestServerHeaders compares the headers that nats.go does not export with the
// server's own names.
func TestServerHeaders(t *testing.T) {
	t.Parallel()
	if kvOperationHeader != server.KVOperation {
		t.Errorf("the header of a deleted key is %s, not %s", server.KVOperation, kvOperationHeader)
	}
	if streamSourceHeader != server.JSStreamSource {
		t.Errorf("the header of a copy's origin is %s, not %s", server.JSStreamSource, streamSourceHeader)
	}
}
