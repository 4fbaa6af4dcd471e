package parley

import "github.com/parleybus/parley/internal/events"

// Signature proves who published an input. A client with a key signs what it
// publishes: see [Config.SignKey].
type Signature = events.Signature

// Need is who must approve a call: names, groups or tags of identities, how many
// people, and whether one who requested the call may.
type Need = events.Need

// Approval is one of the approvals of a call that needs several.
type Approval = events.Approval
