// Package app holds the rules for apps, which speak and decide for people:
// docs/checklists/app.md.
package app

import (
	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/topology"
)

// stage is a stage on which the program speaks.
type stage struct{ *conformance.Stage }

func newStage(c *conformance.Check, setup conformance.Setup) *stage {
	setup.Role = topology.App
	return &stage{c.NewStage(setup)}
}

// rule returns a rule that runs on a stage with this setup.
func rule(number int, says string, setup conformance.Setup, holds func(s *stage)) conformance.Rule {
	return conformance.Rule{Number: number, Says: says, Holds: func(c *conformance.Check) { holds(newStage(c, setup)) }}
}

// Rules returns the rules for an app.
func Rules() []conformance.Rule {
	plain, proxied := conformance.Setup{}, conformance.Setup{Proxied: true}
	return []conformance.Rule{
		rule(1, "it works with the permissions of an app, and sends no request that is denied", plain, sends),
		rule(1, "a token or a password is sufficient on a server without accounts", plain, signsIn),
		rule(2, "an input has a UUIDv7 as its id, and <conversation>/<id> as Nats-Msg-Id", plain, namesInputs),
		rule(3, "it finds the conversation's shard, of as many as the deployment has", conformance.Setup{Shards: 5}, findsShards),
		rule(4, "it publishes an input again, with the same id, until the server acknowledges it", proxied, publishesAgain),
		rule(5, "it prints the answer to its own input, and to no other", plain, waitsForItsOwn),
		rule(5, "it waits on when another input is answered first", plain, answersAnother),
		rule(6, "it finds an answer that was given while it was disconnected", proxied, findsAnswers),
		rule(7, "it reads an answer that arrives in a Claim", plain, resolvesClaims),
		rule(8, "a verdict names the digest that Paused shows, whatever the arguments look like", plain, approves),
		rule(9, "a call that it denies does not run", plain, denies),
		rule(10, "it prints the answer to a verdict that is not accepted, and takes further commands", plain, printsRefusals),
		rule(11, "it answers a tool's question", plain, answersQuestions),
		rule(12, "it never publishes the answer to a question with a key in clear text", plain, keepsSecrets),
		rule(13, "it gives the result of a deferred call on the call's lane, behind the lane's last message", plain, givesResults),
		rule(14, "it prints that a result came too late", plain, comesTooLate),
		rule(15, "a cancel names the turn that runs", plain, cancels),
		rule(16, "settings hold only what changes", plain, changesSettings),
		rule(17, "events that it does not know or cannot read do not stop it", plain, survivesGarbage),
		rule(18, "it exits with code 0 after SIGTERM", plain, leaves),
	}
}
