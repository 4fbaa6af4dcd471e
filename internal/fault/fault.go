// Package fault names the moments at which a process may be killed or suspended by a
// test: between a decision and its jobs, a tool's effect and its result, and so on.
// Kills at random moments miss these windows. The moments do nothing unless the
// program is built with the tag faultpoints, and are not in a released binary.
package fault

// Name is a moment.
type Name string

// The moments, by role.
const (
	DecisionAppended Name = "orchestrator/decision-appended" // its jobs and its timer are not published
	JobsPublished    Name = "orchestrator/jobs-published"    // its timer is not set
	TimerSet         Name = "orchestrator/timer-set"
	TimerCleared     Name = "orchestrator/timer-cleared"
	VerdictDecided   Name = "orchestrator/verdict-decided" // as decision-appended, of a Verdict
	CancelDecided    Name = "orchestrator/cancel-decided"  // as decision-appended, of a Cancel
	CheckpointBefore Name = "orchestrator/checkpoint-before"
	CheckpointAfter  Name = "orchestrator/checkpoint-after"
	PurgeHalf        Name = "orchestrator/purge-half" // jobs, timers and objects are purged, the log is not

	AnswerStarted  Name = "llm-worker/answer-started"
	AnswerStreamed Name = "llm-worker/answer-streamed" // the last delta is appended, GenerationEnded is not

	ToolStarted Name = "tool-worker/tool-started" // the tool has not run
	ToolRan     Name = "tool-worker/tool-ran"     // its result is not appended

	JobDone Name = "worker/job-done" // an answer or a result is appended, its job is not acknowledged

	Draining Name = "draining" // any role: it got SIGINT or SIGTERM
)

// Names returns all moments.
func Names() []Name {
	return []Name{
		DecisionAppended, JobsPublished, TimerSet, TimerCleared, VerdictDecided, CancelDecided, CheckpointBefore, CheckpointAfter, PurgeHalf,
		AnswerStarted, AnswerStreamed, ToolStarted, ToolRan, JobDone, Draining,
	}
}
