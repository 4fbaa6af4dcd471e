package llm

import (
	"encoding/json"
	"fmt"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// CheckExtra refuses extra parameters that every adapter writes itself, such as the
// model and the messages, whoever requested the answer. The orchestrator has checked
// them against the deployment's list before.
func CheckExtra(extra map[string]json.RawMessage) *events.Error {
	if key := ceilings.OwnExtra(extra); key != "" {
		return &events.Error{Class: events.ErrCeiling, Code: ceilings.CodeExtra,
			Message: fmt.Sprintf("the extra parameter %.80q is not taken: Parley writes it itself", key)}
	}
	return nil
}
