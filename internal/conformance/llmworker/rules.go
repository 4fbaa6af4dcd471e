// Package llmworker holds the rules for llm-workers: docs/checklists/llm-worker.md.
package llmworker

import (
	"context"
	"fmt"
	"slices"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/topology"
)

// Model is what the program under test serves. It does not call a provider that costs
// money: its model does what the job's parameters.extra say, see the checklist.
type Model struct {
	Route  string   // the name of the queue, as in jobs.llm.ROUTE.*
	Model  string   // ROUTE/MODEL
	Others []string // other routes that the program serves
}

// stage is a stage with the route of the program under test.
type stage struct {
	*conformance.Stage
	model  Model
	served conformance.Served
}

func newStage(c *conformance.Check, m Model, setup conformance.Setup) *stage {
	setup.Role, setup.Names = topology.LLMWorker, append([]string{m.Route}, m.Others...)
	return &stage{c.NewStage(setup), m, conformance.Served{Kind: "llm", Name: m.Route}}
}

// start starts a worker and waits until it is announced.
func (s *stage) start(name string) *conformance.Process { return s.StartWorker(s.served, name) }

// Discover starts the program to see which route it announces.
func Discover(ctx context.Context, p conformance.Program, m Model) (Model, error) {
	offers, err := p.Offers(ctx, "llm")
	if err != nil {
		return m, err
	}
	i := slices.IndexFunc(offers, func(o conformance.Offer) bool { return m.Route == "" || o.Name == m.Route })
	if i < 0 {
		return m, fmt.Errorf("the program announces no route %s: it puts a key llm.ROUTE.WORKER into the bucket PARLEY_PRESENCE", m.Route)
	}
	m.Route, m.Model = offers[i].Name, offers[i].Model
	for _, o := range offers {
		if o.Name != m.Route {
			m.Others = append(m.Others, o.Name)
		}
	}
	return m, nil
}

// Rules returns the rules for a program that serves a route.
func Rules(m Model) []conformance.Rule {
	rule := func(number int, says string, holds func(s *stage)) conformance.Rule {
		return conformance.Rule{Number: number, Says: says, Holds: func(c *conformance.Check) { holds(newStage(c, m, conformance.Setup{})) }}
	}
	return []conformance.Rule{
		rule(1, "it works with the permissions of an llm-worker, and announces its route and a model", announces),
		rule(1, "a token or a password is sufficient on a server without accounts", signsIn),
		rule(2, "it requests a missing queue from an orchestrator", func(s *stage) { s.RequestsTheQueue(s.served, s.run) }),
		rule(2, "it repeats a request for a queue that has no answer", func(s *stage) { s.RequestsAgain(s.served, s.run) }),
		rule(2, "it does not change an existing queue", func(s *stage) { s.LeavesTheQueue(s.served, s.run) }),
		rule(3, "it puts its key again before half of its lifetime has passed", func(s *stage) { s.AnnouncesAgain(s.served) }),
		rule(4, "it keeps a job that runs longer than ack_wait: the job is delivered once", heartbeats),
		rule(5, "it fetches a job that arrives as a Claim", fetchesClaims),
		rule(5, "other descriptions of an object do not change what it runs", ignoresForgeries),
		rule(6, "it acknowledges a job whose generation has ended, and writes nothing", leavesEnded),
		rule(7, "it acknowledges a job that the last Decision does not want, and writes nothing", leavesStale),
		rule(8, "it appends GenerationStarted first, behind the lane's last message", startsFirst),
		rule(9, "an attempt's events have the indices 0, 1, 2 and so on, and each message follows the one before it", countsEvents),
		rule(10, "it appends one GenerationEnded, with the number of events, and then acknowledges the job", endsOnce),
		rule(10, "it keeps the job until GenerationEnded is stored", keepsTheJob),
		rule(11, "it appends what the model says while the model says it", streams),
		rule(12, "a failure of the provider ends the generation with the error's class", fails),
		rule(13, "an answer that was cut ends with the class cut, and is not terminated", reportsCuts),
		rule(14, "it gives each call an id of its own, and appends its start, its arguments and its end", calls),
		rule(15, "a call whose arguments were cut ends as invalid", neverHalfACall),
		rule(16, "a Cancel of the turn stops the model and ends the generation as cancelled", cancels("")),
		rule(16, "a Cancel of everything does so too", cancels("all")),
		rule(16, "a Cancel of something else, or that names nothing, does not", ignoresOthers),
		rule(17, "a Decision that does not want the generation any more ends it as cancelled", heedsDecisions),
		rule(18, "it writes no more to a lane that another worker has taken over", yields),
		rule(19, "it runs a generation of a worker that was killed again, as a new attempt", takesOver),
		rule(19, "it leaves a generation to the worker that started it while that worker is present", leavesRunning),
		rule(20, "it takes a generation that was released at once", takesReleased),
		rule(21, "on SIGTERM it releases the generation and hands the job back at once", handsBack),
		rule(22, "on SIGTERM it deletes its key and exits with code 0", func(s *stage) { s.Leaves(s.served, s.run) }),
		rule(23, "it hands a job with delay_ms back for that long, on its first delivery", delays),
		rule(24, "it ends a generation that as many attempts as it may request were killed on", givesUp),
		rule(25, "it ignores fields of a job that it does not know", ignoresFields),
	}
}
