package fault

// Bug is a mistake that a build with the tag planted makes on purpose, to show that
// the checkers find it.
type Bug string

// The planted bugs.
const (
	SkipExpected     Bug = "skip-the-expected-sequence"
	AckBeforeAppend  Bug = "ack-before-append"
	DropDelta        Bug = "drop-a-delta"
	DoubleJob        Bug = "double-a-job"
	ForgetSupersede  Bug = "forget-to-supersede"
	ReorderResults   Bug = "reorder-results"
	IgnoreLease      Bug = "ignore-the-lease"
	ForgetRepublish  Bug = "do-not-republish-after-a-takeover"
	CheckpointPast   Bug = "checkpoint-past-an-open-turn"
	AnswerOtherID    Bug = "answer-under-the-wrong-id"
	MergeInClient    Bug = "merge-settings-in-the-client"
	TrustHeader      Bug = "trust-a-header"
	ReadShort        Bug = "read-short-without-an-error"
	LoseTimer        Bug = "lose-a-timer"
	CountDeadAttempt Bug = "count-a-result-of-a-dead-attempt"
)

// Bugs returns all planted bugs.
func Bugs() []Bug {
	return []Bug{
		SkipExpected, AckBeforeAppend, DropDelta, DoubleJob, ForgetSupersede, ReorderResults, IgnoreLease, ForgetRepublish,
		CheckpointPast, AnswerOtherID, MergeInClient, TrustHeader, ReadShort, LoseTimer, CountDeadAttempt,
	}
}
