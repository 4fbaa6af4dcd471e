// Package toolworker holds the rules for tool-workers: the checklist at the end of
// docs/tool-workers.md.
package toolworker

import (
	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/topology"
)

// Tool is the tool of the program under test. It is pure, and its calls take pause_ms:
// the program prints output, waits that long, and then answers.
type Tool struct {
	Name               string
	Arguments, Failing string   // JSON objects; with the second the tool fails
	Answer             string   // part of the result of the first
	Besides            []string // other tools that the program serves
}

// stage is a stage with the tool of the program under test.
type stage struct {
	*conformance.Stage
	tool   Tool
	served conformance.Served
}

func newStage(c *conformance.Check, t Tool, setup conformance.Setup) *stage {
	setup.Role, setup.Names = topology.ToolWorker, append([]string{t.Name}, t.Besides...)
	return &stage{c.NewStage(setup), t, conformance.Served{Kind: "tool", Name: t.Name}}
}

// start starts a worker and waits until it is announced.
func (s *stage) start(name string) *conformance.Process { return s.StartWorker(s.served, name) }

// Rules returns the rules for a program that serves a tool.
func Rules(t Tool) []conformance.Rule {
	rule := func(number int, says string, holds func(s *stage)) conformance.Rule {
		return conformance.Rule{Number: number, Says: says, Holds: func(c *conformance.Check) { holds(newStage(c, t, conformance.Setup{})) }}
	}
	return []conformance.Rule{
		rule(1, "the permissions of a tool-worker are sufficient", announces),
		rule(1, "a token or a password is sufficient on a server without accounts", signsIn),
		rule(2, "a missing queue is requested from an orchestrator", requestsTheQueue),
		rule(2, "a request for a queue without an answer is repeated", requestsAgain),
		rule(2, "an existing queue is not changed", leavesTheQueue),
		rule(3, "the tool is announced, and again before the announcement expires", announcesAgain),
		rule(4, "a job that runs longer than AckWait is delivered once", heartbeats),
		rule(5, "the job of a claim is fetched from the object store", fetchesClaims),
		rule(5, "other descriptions of an object do not change what is fetched", ignoresForgeries),
		rule(6, "a call that has its result is acknowledged and not run", leavesResults),
		rule(7, "a call that is over is acknowledged and not run", leavesStale),
		rule(7, "a call without a Decision is run regardless of Decisions", runsOutsideTurns),
		rule(8, "a start precedes the result, and each expects the last sequence", startsThenEnds),
		rule(9, "output is shown while the call runs, in order", showsOutput),
		rule(10, "a call has one result, and then its job is acknowledged", startsThenEnds),
		rule(10, "a job is kept until the result of its call is stored", keepsTheJob),
		rule(11, "a failed tool sets the status, and the reason in the content", fails),
		rule(12, "a call that exceeds its time ends as timeout", timesOut),
		rule(13, "a Cancel of the turn ends the call as cancelled", cancels(func(c *call) cancel { return cancel{Turn: c.job.Turn} })),
		rule(13, "a Cancel of the call ends it as cancelled", cancels(func(c *call) cancel { return cancel{Call: c.job.Call} })),
		rule(13, "a Cancel of everything ends the call as cancelled", cancels(func(c *call) cancel { return cancel{Turn: c.job.Turn, Scope: "all"} })),
		rule(13, "a Cancel of something else, or that names nothing, does not end the call", ignoresOthers),
		rule(14, "a Decision without the call ends it as cancelled", heedsDecisions),
		rule(15, "a call that may not be run again ends as unknown when its worker died", neverTwice),
		rule(16, "a worker that lost the lane writes no more", yields),
		rule(17, "a call that was started a hundred times ends as failed", givesUp),
		rule(18, "a job is handed back at once when its worker gets a stop signal", handsBack),
		rule(18, "a call that may not be run again ends as unknown when its worker gets a stop signal", endsOnce),
		rule(19, "a worker that gets a stop signal withdraws its announcement and exits with 0", leaves),
		rule(20, "a job of a worker that was killed is run by another, as another attempt", takesOver),
		rule(21, "a job that another worker has started is left to it while it is present", leavesRunning),
		rule(21, "a job that another worker has handed back is taken at once", takesReleased),
	}
}
