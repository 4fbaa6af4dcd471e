package jobs

import (
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/parleybus/parley/internal/topology"
)

// knownProtocol is middleware that hands a job of a later protocol back: a worker that
// was updated may take it.
func knownProtocol(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		if p := topology.ProtocolOf(m.Metadata.Get(topology.HeaderProtocol)); p > topology.Protocol {
			return nil, fmt.Errorf("the job is of protocol %d, and this worker speaks protocol %d: update this worker", p, topology.Protocol)
		}
		return next(m)
	}
}
