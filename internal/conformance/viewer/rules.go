// Package viewer holds the rules for viewers: docs/checklists/viewer.md.
package viewer

import (
	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/topology"
)

// stage is a stage with conversations that the rule writes.
type stage struct{ *conformance.Stage }

func newStage(c *conformance.Check, setup conformance.Setup) *stage {
	setup.Role = topology.App
	return &stage{c.NewStage(setup)}
}

// rule returns a rule that runs on a stage with this setup.
func rule(number int, says string, setup conformance.Setup, holds func(s *stage)) conformance.Rule {
	return conformance.Rule{Number: number, Says: says, Holds: func(c *conformance.Check) { holds(newStage(c, setup)) }}
}

// Rules returns the rules for a viewer.
func Rules() []conformance.Rule {
	plain, proxied := conformance.Setup{}, conformance.Setup{Proxied: true}
	return []conformance.Rule{
		rule(1, "it works with the permissions of an app, and sends no request that is denied", plain, showsHistory),
		rule(1, "a token or a password is sufficient on a server without accounts", plain, signsIn),
		rule(2, "it prints the events of the log from the beginning, each once, in order, with its cursor", plain, showsFrames),
		rule(3, "it prints what is written later as it comes", plain, showsLive),
		rule(4, "nothing is missing, doubled or out of order when it starts while others write", plain, splices),
		rule(5, "it resumes behind a cursor, also in the middle of a message", plain, resumes),
		rule(6, "a live message that was lost is read from the log, in order", proxied, healsAHole),
		rule(6, "a lost message that another channel's message follows is read from the log", proxied, healsAcrossChannels),
		rule(7, "a lost last message is read from the log within 30 s", proxied, healsTheEnd),
		rule(8, "it continues where it was after its connection was cut", proxied, reconnects),
		rule(9, "it continues where it was after the server was restarted", plain, survivesRestart),
		rule(10, "it prints events of unknown types, and unknown fields", plain, passesOnUnknown),
		rule(11, "it reports what cannot be read, and continues with the next message", plain, reportsUnreadable),
		rule(12, "it prints the events that a Claim refers to", plain, resolvesClaims),
		rule(12, "other descriptions of an object do not change what it prints", plain, ignoresForgeries),
		rule(13, "it says which attempt another one supersedes, and marks events of superseded attempts", plain, marksSuperseded),
		rule(14, "it prints no events of other conversations", plain, ignoresOthers),
		rule(15, "it says that what follows its cursor has expired, and where to resume", plain, saysExpired),
		rule(15, "it says that the beginning of the log has expired", plain, saysExpiredBeginning),
		rule(16, "it does not say that something expired when nothing of the conversation did", plain, expiredNothing),
		rule(17, "it says that its cursor is of another log", plain, saysOtherLog),
		rule(17, "it says that the log was replaced while it ran", plain, saysReplaced),
		rule(18, "it prints the receipt of a deletion and ends", plain, endsDeleted),
		rule(19, "it finds the conversation's shard, of as many as the deployment has", conformance.Setup{Shards: 5}, findsShards),
		rule(20, "it exits with code 0 after SIGTERM", plain, leaves),
	}
}
