package events

import (
	"fmt"
	"strings"
)

// Signature proves who published an input. It is the last field of the event's
// line and covers the conversation's id and the rest of the line: see
// docs/people.md, "Who spoke".
type Signature struct {
	Key string `json:"key" jsonschema:"public user nkey of the author (U and 55 letters and digits)"`
	Sig string `json:"sig" jsonschema:"the ed25519 signature, base64url without padding"`
}

// SignatureOf returns the id and the signature of an input; nil for an unsigned
// input and for any other event.
func SignatureOf(e Event) (id string, s *Signature) {
	switch e := e.(type) {
	case *UserMessage:
		return e.ID, e.Signature
	case *Settings:
		return e.ID, e.Signature
	case *Verdict:
		return e.ID, e.Signature
	case *Cancel:
		return e.ID, e.Signature
	case *Delete:
		return e.ID, e.Signature
	}
	return "", nil
}

// The answers to inputs whose author cannot be verified, where the deployment
// has identities.
const (
	AnswerBadSignature      Answer = "bad_signature"      // the signature does not fit the input and the conversation
	AnswerUnknownKey        Answer = "unknown_key"        // signatures are required, and no identity has this key
	AnswerSignatureRequired Answer = "signature_required" // signatures are required, and there is none
)

// Need is who must approve a call. The zero value is satisfied by anybody.
type Need struct {
	Approvers    []string `json:"approvers,omitempty" jsonschema:"who may approve, or answer a deferred call: names of identities, group:NAME or tag:NAME; any identity when absent"`
	Approvals    int      `json:"approvals,omitempty" jsonschema:"how many different people must approve; 1 when absent"`
	NotRequester bool     `json:"not_requester,omitempty" jsonschema:"whoever wrote a message of the turn, or settings of the conversation, may not approve"`
}

// Anybody reports whether anybody may approve.
func (n *Need) Anybody() bool {
	return n == nil || len(n.Approvers) == 0 && n.Approvals <= 1 && !n.NotRequester
}

// Count is the number of people who must approve.
func (n *Need) Count() int {
	if n == nil {
		return 1
	}
	return max(n.Approvals, 1)
}

// Who describes those who may approve, such as "anna or somebody of group finance,
// but not who requested it".
func (n *Need) Who() string {
	if n == nil {
		return "anybody"
	}
	var all []string
	for _, a := range n.Approvers {
		kind, name, found := strings.Cut(a, ":")
		if found {
			a = fmt.Sprintf("somebody of %s %s", kind, name)
		}
		all = append(all, a)
	}
	text := strings.Join(all, " or ")
	if text == "" {
		text = "somebody who signs"
	}
	if n.NotRequester {
		text += ", but not who requested it"
	}
	return text
}

// Approval is an approval of a call that needs several.
type Approval struct {
	Signer  string `json:"signer" jsonschema:"name of the identity"`
	Verdict string `json:"verdict" jsonschema:"id of the Verdict"`
}

// Progress describes the approvals of a call that needs particular people, such as
// "1 of 2, by anna; needs another of somebody of group finance".
func (a *Awaited) Progress() string {
	if a.Needs.Anybody() {
		return ""
	}
	if len(a.Approved) == 0 {
		if n := a.Needs.Count(); n > 1 {
			return fmt.Sprintf("0 of %d; needs %s", n, a.Needs.Who())
		}
		return "needs " + a.Needs.Who()
	}
	names := make([]string, len(a.Approved))
	for i, one := range a.Approved {
		names[i] = one.Signer
	}
	return fmt.Sprintf("%d of %d, by %s; needs another: %s", len(names), a.Needs.Count(), strings.Join(names, " and "), a.Needs.Who())
}
