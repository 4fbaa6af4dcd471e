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
	var all []conformance.Rule
	for _, r := range table() {
		all = append(all, conformance.Rule{Number: r.number, Says: r.says, Holds: func(c *conformance.Check) { r.holds(newStage(c, t, conformance.Setup{})) }})
	}
	return all
}

// rule is one rule of the checklist, by its number.
type rule struct {
	number int
	says   string
	holds  func(s *stage)
}

func table() []rule {
	return []rule{
		{1, "the permissions of a tool-worker are sufficient", announces},
		{1, "a token or a password is sufficient on a server without accounts", signsIn},
		{2, "a missing queue is requested from an orchestrator", requestsTheQueue},
		{2, "a request for a queue without an answer is repeated", requestsAgain},
		{2, "an existing queue is not changed", leavesTheQueue},
		{3, "the tool is announced, and again before the announcement expires", announcesAgain},
		{4, "a job that runs longer than AckWait is delivered once", heartbeats},
		{5, "the job of a claim is fetched from the object store", fetchesClaims},
		{5, "other descriptions of an object do not change what is fetched", ignoresForgeries},
		{6, "a call that has its result is acknowledged and not run", leavesResults},
		{7, "a call that is over is acknowledged and not run", leavesStale},
		{7, "a call without a Decision is run regardless of Decisions", runsOutsideTurns},
		{8, "a start precedes the result, and each expects the last sequence", startsThenEnds},
		{9, "output is shown while the call runs, in order", showsOutput},
		{10, "a call has one result, and then its job is acknowledged", startsThenEnds},
		{10, "a job is kept until the result of its call is stored", keepsTheJob},
		{11, "a failed tool sets the status, and the reason in the content", fails},
		{12, "a call that exceeds its time ends as timeout", timesOut},
		{13, "a Cancel of the turn ends the call as cancelled", cancels(func(c *call) cancel { return cancel{Turn: c.job.Turn} })},
		{13, "a Cancel of the call ends it as cancelled", cancels(func(c *call) cancel { return cancel{Call: c.job.Call} })},
		{13, "a Cancel of everything ends the call as cancelled", cancels(func(c *call) cancel { return cancel{Turn: c.job.Turn, Scope: "all"} })},
		{13, "a Cancel of something else, or that names nothing, does not end the call", ignoresOthers},
		{14, "a Decision without the call ends it as cancelled", heedsDecisions},
		{15, "a call that may not be run again ends as unknown when its worker died", neverTwice},
		{16, "a worker that lost the lane writes no more", yields},
		{17, "a call that was started a hundred times ends as failed", givesUp},
		{18, "a job is handed back at once when its worker gets a stop signal", handsBack},
		{18, "a call that may not be run again ends as unknown when its worker gets a stop signal", endsOnce},
		{19, "a worker that gets a stop signal withdraws its announcement and exits with 0", leaves},
		{20, "a job of a worker that was killed is run by another, as another attempt", takesOver},
		{21, "a job that another worker has started is left to it while it is present", leavesRunning},
		{21, "a job that another worker has handed back is taken at once", takesReleased},
	}
}
