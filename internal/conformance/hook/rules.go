// Package hook holds the rules for programs that answer hooks: docs/checklists/hook.md.
package hook

import (
	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// name is the hook that the program answers, before turns.
const name = "checked"

// stage is a stage on which the program answers a hook.
type stage struct {
	*conformance.Stage
	subject string // where the program is asked
}

func newStage(c *conformance.Check, setup conformance.Setup) *stage {
	setup.Role, setup.Names = topology.App, []string{name}
	subject, err := topology.HookSubject(events.HookBefore, name)
	c.Must(err)
	return &stage{c.NewStage(setup), subject}
}

func rule(number int, says string, holds func(s *stage)) conformance.Rule {
	return conformance.Rule{Number: number, Says: says, Holds: func(c *conformance.Check) {
		holds(newStage(c, conformance.Setup{Proxied: true}))
	}}
}

// Rules returns the rules for a program that answers a hook.
func Rules() []conformance.Rule {
	return []conformance.Rule{
		rule(1, "it answers with the permissions of an app that may answer this hook only", answers),
		rule(1, "a token or a password is sufficient on a server without accounts", signsIn),
		rule(2, "its answer is one HookAnswered, of the turn that it was asked about, to the reply subject", answersOnce),
		rule(3, "several processes of it answer a request once", sharesRequests),
		rule(4, "a request that is repeated gets the same answer", repeats),
		rule(5, "it ignores fields of a request that it does not know", ignoresFields),
		rule(6, "it reads a request that arrives as a Claim", resolvesClaims),
		rule(6, "other descriptions of an object do not change its answer", ignoresForgeries),
		rule(7, "it does not answer after timeout_ms", respectsTheDeadline),
		rule(8, "a slow answer does not hold up others", answersAtOnce),
		rule(9, "a request that it cannot read does not stop it", survivesGarbage),
		rule(10, "it answers again after its connection was cut, and after the server was restarted", reconnects),
		rule(11, "what it answers reaches the model, and a refusal ends the turn", reachesTheModel),
		rule(12, "on SIGTERM it answers what it has taken, and exits with code 0", finishes),
	}
}
