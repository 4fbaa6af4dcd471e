package orchestrator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

// needs are the requirements on who decides a call, all of which hold: those with
// which it began to wait, and those of the policy now.
type needs []events.Need

func needsOf(call *events.CallState, r policy.Ruling) needs {
	var n needs
	if !call.Needs.Anybody() {
		n = append(n, *call.Needs)
	}
	if !r.Rule.Anybody() {
		n = append(n, r.Rule.Need)
	}
	return n
}

// count is the number of people who must approve.
func (n needs) count() int {
	most := 1
	for i := range n {
		most = max(most, n[i].Count())
	}
	return most
}

// who describes those who may decide.
func (n needs) who() string {
	var all []string
	for i := range n {
		if text := n[i].Who(); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, ", who must also be ")
}

// barred returns why the author of a verdict may not decide a call; empty when
// they may.
func (d *decision) barred(n needs, signer string) string {
	switch {
	case len(n) == 0:
		return ""
	case d.env.Identities == nil:
		return "this call needs " + n.who() + ", and this deployment has no identities: add them to the rules file, or reject the call"
	case signer == "":
		return "this call needs " + n.who() + ": your verdict is not signed with the key of an identity"
	case !d.may(n, signer):
		return fmt.Sprintf("this call needs %s: %s may not decide it", n.who(), signer)
	}
	return d.requested(n, signer)
}

// may reports whether an identity is an approver for all needs.
func (d *decision) may(n needs, signer string) bool {
	return !slices.ContainsFunc(n, func(one events.Need) bool { return !d.env.Identities.May(signer, one) })
}

// requested returns why an identity may not decide because it requested the call,
// or may have.
func (d *decision) requested(n needs, signer string) string {
	if !slices.ContainsFunc(n, func(one events.Need) bool { return one.NotRequester }) {
		return ""
	}
	signers, unsigned := d.transcript.Requesters(d.c.Turn)
	for _, by := range d.requesters { // with this Decision
		signers[by] = true
		unsigned = unsigned || by == ""
	}
	switch {
	case signers[signer]:
		return fmt.Sprintf("this call needs %s: %s wrote a message of this turn or settings of this conversation", n.who(), signer)
	case unsigned:
		return "this call needs " + n.who() + ": messages of this turn or settings of this conversation are not signed, so nobody can show that somebody else wrote them; reject the call, and request it in a conversation in which all is signed"
	}
	return ""
}

// approve decides about an allowed approval of a call: it releases the call, with
// the edited arguments unless they are nil, or counts the approval when the call
// needs others.
func (d *decision) approve(v *verdict, call *events.CallState, n needs, edited []byte) (events.Answer, string) {
	signer := d.signers[v.input]
	var signers []string
	for _, a := range call.Approved {
		// Who may not approve any more does not count.
		if a.Signer != signer && d.may(n, a.Signer) && d.requested(n, a.Signer) == "" {
			signers = append(signers, a.Signer)
		}
	}
	again := slices.ContainsFunc(call.Approved, func(a events.Approval) bool { return a.Signer == signer })
	if signer != "" {
		signers = append(signers, signer)
	}
	missing := n.count() - len(signers)
	switch {
	case len(n) > 0 && missing > 0 && again:
		return events.AnswerAlreadyDecided, fmt.Sprintf("%s has approved this call already: it needs approvals of %d different people", signer, n.count())
	case len(n) > 0 && missing > 0:
		v.missing = missing
		return events.AnswerAccepted, fmt.Sprintf("%d of %d approvals: the call waits for another, of %s", len(signers), n.count(), n.who())
	}
	if d.withdrawn(*call) {
		return events.AnswerAccepted, fmt.Sprintf("the tool %q is no longer served: the call ends as %s", call.Tool, events.StatusUnknownTool)
	}
	d.emit(&events.ToolCallRequested{Turn: d.c.Turn, Step: d.c.Step, Call: call.Call, Tool: call.Tool, Effect: d.effect(*call), Arguments: edited, By: v.input, Signers: signers})
	return events.AnswerAccepted, ""
}
