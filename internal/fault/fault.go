// Package fault names the moments at which a test strikes a process: it is killed,
// stopped or suspended, or loses its connection or its server, between a decision and its jobs, a tool's effect and its result, and so on.
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
	CompactDecided   Name = "orchestrator/compact-decided" // as decision-appended, of a compaction
	CheckpointBefore Name = "orchestrator/checkpoint-before"
	CheckpointAfter  Name = "orchestrator/checkpoint-after"
	PurgeHalf        Name = "orchestrator/purge-half" // jobs, timers and objects are purged, the log is not
	PurgeDone        Name = "orchestrator/purge-done" // all is purged, the Decision that says so is not appended

	AnswerStarted  Name = "llm-worker/answer-started"
	AnswerStreamed Name = "llm-worker/answer-streamed" // the last delta is appended, GenerationEnded is not

	ToolStarted Name = "tool-worker/tool-started" // the tool has not run
	ToolRan     Name = "tool-worker/tool-ran"     // its result is not appended

	JobDone Name = "worker/job-done" // an answer or a result is appended, its job is not acknowledged

	Attaching Name = "viewer/attaching" // it is subscribed to what is live, and has not read the log

	Draining Name = "draining" // any role: it got SIGINT or SIGTERM
)

// Action is what happens to a process at a moment.
type Action string

// The actions. The process does the first two itself. At the others it waits at the
// moment until a test has done them.
const (
	Kill    Action = "kill"
	Stop    Action = "stop"    // SIGTERM
	Suspend Action = "suspend" // SIGSTOP for longer than a lease, then SIGCONT
	Cut     Action = "cut"     // its connection
	Server  Action = "server"  // its server, or the leader of the log, is killed
)

// Actions returns all actions.
func Actions() []Action { return []Action{Kill, Stop, Suspend, Cut, Server} }

// Names returns all moments.
func Names() []Name {
	return []Name{
		DecisionAppended, JobsPublished, TimerSet, TimerCleared, VerdictDecided, CancelDecided, CompactDecided,
		CheckpointBefore, CheckpointAfter, PurgeHalf, PurgeDone, AnswerStarted, AnswerStreamed, ToolStarted, ToolRan, JobDone,
		Attaching, Draining,
	}
}
