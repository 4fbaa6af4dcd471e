package bus

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// TestErrorCodes compares the codes that nats.go does not export with the server's
// own identifiers.
func TestErrorCodes(t *testing.T) {
	t.Parallel()
	for ours, theirs := range map[jetstream.ErrorCode]server.ErrorIdentifier{
		codeAccountLimit:          server.JSAccountResourcesExceededErr,
		codeInsufficientResources: server.JSInsufficientResourcesErr,
		codeMaximumStreams:        server.JSMaximumStreamsLimitErr,
		codeStorageExceeded:       server.JSStorageResourcesExceededErr,
		codeStreamStoreFailed:     server.JSStreamStoreFailedF,
		codeMaxBytesRequired:      server.JSStreamMaxBytesRequired,
	} {
		if uint16(ours) != uint16(theirs) {
			t.Errorf("the server's code is %d, not %d", theirs, ours)
		}
	}
}
