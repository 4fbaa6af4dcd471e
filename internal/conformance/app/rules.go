// Package app holds the rules for apps, which speak and decide for people:
// docs/checklists/app.md.
package app

import (
	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/topology"
)

// rule is one rule of the checklist, by its number.
type rule struct {
	number int
	says   string
	setup  conformance.Setup
	holds  func(s *stage)
}

// stage is a stage on which the program speaks.
type stage struct{ *conformance.Stage }

func newStage(c *conformance.Check, setup conformance.Setup) *stage {
	setup.Role = topology.App
	return &stage{c.NewStage(setup)}
}

// Rules returns the rules for an app.
func Rules() []conformance.Rule {
	var all []conformance.Rule
	for _, r := range table() {
		all = append(all, conformance.Rule{Number: r.number, Says: r.says, Holds: func(c *conformance.Check) { r.holds(newStage(c, r.setup)) }})
	}
	return all
}

func table() []rule {
	plain, proxied := conformance.Setup{}, conformance.Setup{Proxied: true}
	return []rule{
		{1, "it works with the permissions of an app, and sends no request that is denied", plain, sends},
		{1, "a token or a password is sufficient on a server without accounts", plain, signsIn},
		{2, "an input has a UUIDv7 as its id, and <conversation>/<id> as Nats-Msg-Id", plain, namesInputs},
		{3, "it finds the conversation's shard, of as many as the deployment has", conformance.Setup{Shards: 5}, findsShards},
		{4, "it publishes an input again, with the same id, until the server acknowledges it", proxied, publishesAgain},
		{5, "it prints the answer to its own input, and to no other", plain, waitsForItsOwn},
		{5, "it waits on when another input is answered first", plain, answersAnother},
		{6, "it finds an answer that was given while it was disconnected", proxied, findsAnswers},
		{7, "it reads an answer that arrives in a Claim", plain, resolvesClaims},
		{8, "a verdict names the digest that Paused shows, whatever the arguments look like", plain, approves},
		{9, "a call that it denies does not run", plain, denies},
		{10, "it prints the answer to a verdict that is not accepted, and takes further commands", plain, printsRefusals},
		{11, "it answers a tool's question", plain, answersQuestions},
		{12, "it never publishes the answer to a question with a key in clear text", plain, keepsSecrets},
		{13, "it gives the result of a deferred call on the call's lane, behind the lane's last message", plain, givesResults},
		{14, "it prints that a result came too late", plain, comesTooLate},
		{15, "a cancel names the turn that runs", plain, cancels},
		{16, "settings hold only what changes", plain, changesSettings},
		{17, "events that it does not know or cannot read do not stop it", plain, survivesGarbage},
		{18, "it exits with code 0 after SIGTERM", plain, leaves},
	}
}
