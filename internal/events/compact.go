package events

// Compact asks for a shorter history: the next requests to the model leave out the
// oldest of it. The log and the transcript keep everything.
type Compact struct {
	ID        string     `json:"id" jsonschema:"id of the input (UUIDv7); inputs are idempotent by their id, permanently"`
	From      string     `json:"from,omitempty" jsonschema:"author, as the app names them"`
	Signature *Signature `json:"signature,omitempty" jsonschema:"proof of the author; the last field of the line"`
}

// CompactionMode says when a history is compacted.
type CompactionMode string

// The modes.
const (
	CompactionAuto CompactionMode = "auto" // when it nears the model's window, and when it was refused for its length
	CompactionOff  CompactionMode = "off"  // by a Compact only
)

// Compaction sets when a conversation is compacted.
type Compaction struct {
	Mode   CompactionMode `json:"mode,omitempty" jsonschema:"auto (the default): when the history nears the model's window, and when the provider refused it for its length; off: by a Compact only"`
	Window int64          `json:"window,omitempty" jsonschema:"tokens that the model takes; absent means what is known of the model"`
}

// CompactionReason is why a history was compacted.
type CompactionReason string

// The reasons.
const (
	CompactedWindow  CompactionReason = "window"  // it neared the model's window
	CompactedRefused CompactionReason = "refused" // the provider refused it for its length
	CompactedAsked   CompactionReason = "asked"   // a Compact
)

// Place is a place in a transcript: the beginning of a turn, or of one of its steps.
type Place struct {
	Turn string `json:"turn" jsonschema:"id of the turn"`
	Step int    `json:"step,omitempty" jsonschema:"step of the turn, from 1; absent for its beginning"`
}

// Compacted records what the requests to the model leave out from now on: the texts of
// results of calls before a place, and whole turns before another. A later one never
// includes again what an earlier one left out. The transcript itself keeps everything.
type Compacted struct {
	Reason CompactionReason `json:"reason" jsonschema:"window: the history neared the model's window; refused: the provider refused it for its length; asked: a Compact"`
	// Results is nil when no result is left out.
	Results *Place `json:"results,omitempty" jsonschema:"results of calls before this place are sent as a note of their size"`
	Turns   string `json:"turns,omitempty" jsonschema:"id of the first turn that is sent; absent when all are"`
	Omitted int    `json:"omitted,omitempty" jsonschema:"number of turns that are not sent"`
	Window  int64  `json:"window,omitempty" jsonschema:"tokens of the model's window; absent when it is unknown"`
	Before  int64  `json:"before" jsonschema:"tokens of the history before, estimated"`
	After   int64  `json:"after" jsonschema:"tokens of the history that is sent from now on, estimated"`
}

// Type implements [Event].
func (*Compact) Type() string { return "Compact" }

// Type implements [Event].
func (*Compacted) Type() string { return "Compacted" }
