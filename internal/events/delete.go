package events

// The phases of a conversation that a person deletes. In PhaseDeleting its
// messages, jobs, timers and objects are being purged; of one in PhaseDeleted
// only the last Decision is left, and nothing changes.
const (
	PhaseDeleting Phase = "deleting"
	PhaseDeleted  Phase = "deleted"
)

// AnswerDeleted answers an input of a conversation that was deleted.
const AnswerDeleted Answer = "deleted"

// Delete deletes a conversation: it stops what runs and drops what is queued, as
// a Cancel with scope all does, and purges what was stored.
type Delete struct {
	ID        string     `json:"id" jsonschema:"id of the input (UUIDv7); inputs are idempotent by their id, permanently"`
	Reason    string     `json:"reason,omitempty" jsonschema:"why"`
	From      string     `json:"from,omitempty" jsonschema:"author, as the app names them"`
	Signature *Signature `json:"signature,omitempty" jsonschema:"proof of the author; the last field of the line"`
}

// DeletionStarted starts the deletion of a conversation. Its messages, jobs,
// timers and objects are purged; then ConversationDeleted follows.
type DeletionStarted struct {
	Inputs  []string `json:"inputs" jsonschema:"ids of the Deletes, answered when the purge is complete"`
	Dropped []string `json:"dropped,omitempty" jsonschema:"ids of the queued messages that it dropped"`
	AtMS    int64    `json:"at_ms" jsonschema:"time of the decision, Unix milliseconds"`
	Signers []string `json:"signers,omitempty" jsonschema:"names of the identities that signed the Deletes"`
}

// ConversationDeleted is the receipt of a deletion: how much was purged. After a
// crash in between it counts what was left for the second try. Every Decision of
// a deleted conversation has it: only the last one is left to fold.
type ConversationDeleted struct {
	Messages uint64 `json:"messages" jsonschema:"messages of the conversation's log"`
	History  uint64 `json:"history" jsonschema:"copies in HISTORY"`
	Jobs     uint64 `json:"jobs" jsonschema:"purged jobs, waiting or running"`
	Timers   uint64 `json:"timers" jsonschema:"purged timers, set or fired"`
	Objects  uint64 `json:"objects" jsonschema:"objects of the object store"`
	AtMS     int64  `json:"at_ms" jsonschema:"time at which the purge was complete, Unix milliseconds"`
	// Signers is who deleted the conversation.
	Signers []string `json:"signers,omitempty" jsonschema:"names of the identities that signed the Deletes"`
}

// Gone reports whether the conversation was deleted or is being deleted.
func (s *State) Gone() bool { return s.Phase == PhaseDeleting || s.Phase == PhaseDeleted }

// Type implements [Event].
func (*Delete) Type() string { return "Delete" }

// Type implements [Event].
func (*DeletionStarted) Type() string { return "DeletionStarted" }

// Type implements [Event].
func (*ConversationDeleted) Type() string { return "ConversationDeleted" }
