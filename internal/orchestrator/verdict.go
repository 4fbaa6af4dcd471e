package orchestrator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

// verdict decides each call that a Verdict names by itself. A ruling that is late,
// stale or not allowed is answered and changes nothing.
func (d *decision) verdict(input string, e *events.Verdict) {
	switch e.Verdict {
	case events.RulingRevoke:
		d.revoke(input, e)
		return
	case events.RulingApprove, events.RulingReject, events.RulingEdit, events.RulingAnswer, events.RulingAlways:
	default:
		d.answer(input, events.AnswerInvalid, "", fmt.Sprintf("verdict %q is none of approve, reject, edit, answer, approve_for_conversation, revoke", e.Verdict))
		return
	}
	if len(e.Calls) == 0 {
		d.answer(input, events.AnswerInvalid, "", "the verdict names no call: name each with its id and the digest of its arguments, as Paused does")
		return
	}
	if n := len(e.Calls); n > maxRulings {
		d.exceeds(input, events.AnswerInvalid, ceilings.CodeRulings, fmt.Sprintf("the verdict names %d calls, at most %d can be decided at once: give several verdicts", n, maxRulings))
		return
	}
	a := &events.InputAnswered{Input: input, Turn: d.c.Turn}
	for _, c := range e.Calls {
		v := verdict{Verdict: e, input: input, call: c}
		answer, reason := d.rule(&v)
		a.Calls = append(a.Calls, events.CallAnswer{Call: c.Call, Answer: answer, Reason: reason, Missing: v.missing})
		if g := v.grant; g != nil && !slices.ContainsFunc(slices.Concat(d.c.Grants, a.Granted), func(o events.Grant) bool { return o.Tool == g.Tool && o.Rule == g.Rule }) {
			v.grant.ID = input
			if n := len(a.Granted); n > 0 {
				v.grant.ID = fmt.Sprintf("%s-%d", input, n)
			}
			a.Granted = append(a.Granted, *v.grant)
		}
	}
	first := max(0, slices.IndexFunc(a.Calls, func(c events.CallAnswer) bool { return c.Answer == events.AnswerAccepted }))
	a.Answer, a.Reason = a.Calls[first].Answer, a.Calls[first].Reason
	d.emit(a)
	d.releaseGranted(a.Granted)
	d.resume()
}

// verdict is the ruling of a Verdict on one call.
type verdict struct {
	*events.Verdict
	input string
	call  events.CallVerdict
	grant *events.Grant // the standing approval that it gives
	// missing is the number of further approvals that the call needs.
	missing int
}

// rule decides one call.
func (d *decision) rule(v *verdict) (events.Answer, string) {
	if q := d.c.Question; q != nil && v.call.Call == q.ID {
		return d.ruleLimit(v, q)
	}
	call := d.call(v.call.Call)
	if answer, reason := d.stale(v, call); answer != "" {
		return answer, reason
	}
	if call.Waits == events.WaitAnswer {
		return d.reply(v, *call)
	}
	if answer, reason := misplaced(v, call); answer != "" {
		return answer, reason
	}
	if v.Verdict.Verdict == events.RulingReject {
		why := "a person rejected this call: it was not run"
		if v.Reason != "" {
			why += ": " + v.Reason
		}
		d.refuse(call.Call, call.Tool, events.StatusRefused, why)
		return events.AnswerAccepted, ""
	}
	return d.grantOrAnswer(v, call)
}

// grantOrAnswer decides a verdict that lets a call run or gives its result, which
// particular people may have to do.
func (d *decision) grantOrAnswer(v *verdict, call *events.CallState) (events.Answer, string) {
	ruling, arguments := v.Verdict.Verdict, d.arguments(call.Call)
	var edited []byte
	switch ruling {
	case events.RulingAnswer:
		if v.call.Content == "" || v.call.Sealed != "" {
			return events.AnswerInvalid, "an answer needs content: the call's result for the model; only a tool's question with a key takes sealed"
		}
	case events.RulingEdit:
		var answer events.Answer
		var reason string
		if edited, answer, reason = d.edited(v, *call); answer != "" {
			return answer, reason
		}
		arguments = string(edited)
	}
	var r policy.Ruling
	if ruling != events.RulingAnswer || d.env.Identities != nil { // who may answer depends on the arguments, too
		r = d.judge(*call, arguments)
	}
	n, signer := needsOf(call, r), d.signers[v.input]
	if answer, reason := d.disallowed(ruling, r, n, signer); answer != "" {
		return answer, reason
	}
	switch ruling {
	case events.RulingAnswer:
		d.emit(&events.ToolCallAnswered{Turn: d.c.Turn, Call: call.Call, Tool: call.Tool, Content: v.call.Content, By: v.input})
		return events.AnswerAccepted, ""
	case events.RulingAlways:
		v.grant = &events.Grant{Tool: call.Tool, Rule: call.Rule, From: v.From, Signer: signer}
	}
	return d.approve(v, call, n, edited)
}

// disallowed returns the answer to a verdict that the policy, or who gave it, does
// not allow; empty when it is allowed.
func (d *decision) disallowed(ruling events.Ruling, r policy.Ruling, n needs, signer string) (events.Answer, string) {
	runs, edits := ruling != events.RulingAnswer, ruling == events.RulingEdit
	switch {
	case runs && r.Action == events.ActionDeny && edits:
		return events.AnswerDenied, "the policy denies the call with these arguments, even with approval: " + r.Rule.Reason
	case runs && r.Action == events.ActionDeny:
		return events.AnswerDenied, "the policy denies this call, even with approval: " + r.Rule.Reason
	case r.Key == policy.KeyOverBudget:
		return events.AnswerNotAllowed, "the policy's conditions on other calls used up what one decision may cost, and were not evaluated on this one: decide it in a verdict of its own"
	case d.barred(n, signer) != "":
		return events.AnswerNotAllowed, d.barred(n, signer)
	case n.count() > 1 && (edits || !runs):
		return events.AnswerNotAllowed, fmt.Sprintf("this call needs approvals of %d people, who must see the same arguments: approve or reject it", n.count())
	case len(n) > 0 && ruling == events.RulingAlways:
		return events.AnswerNotAllowed, "each call needs " + n.who() + ": approve this one call"
	case ruling == events.RulingAlways && len(d.c.Grants) >= maxGrants:
		return events.AnswerNotAllowed, fmt.Sprintf("the conversation has %d standing approvals: revoke some, or approve this one call", len(d.c.Grants))
	}
	return "", ""
}

// stale returns the answer to a verdict that comes too late or names other
// arguments; empty when it is valid.
func (d *decision) stale(v *verdict, call *events.CallState) (events.Answer, string) {
	if call == nil {
		old, known := d.called(v.call.Call)
		switch {
		case d.transcript.IsLimitQuestion(v.call.Call):
			return events.AnswerAlreadyDecided, "this question at a limit was already decided"
		case !known:
			return events.AnswerUnknownCall, "this conversation has no such call"
		}
		return ended(old.Status)
	}
	switch {
	case call.Status != "":
		return ended(call.Status)
	case call.Waits == "":
		return events.AnswerAlreadyDecided, "the call is already running"
	case call.Waits == events.WaitSlot:
		return events.AnswerAlreadyDecided, "the call is queued and needs no approval: cancel it if it must not run"
	case call.Waits != events.WaitLimit && v.call.Digest == "":
		return events.AnswerInvalid, "the verdict must name the digest of the arguments, as Paused does"
	case call.Waits != events.WaitLimit && v.call.Digest != call.Digest:
		return events.AnswerArgumentsChanged, "the arguments have changed since; their digest is now " + call.Digest
	}
	return "", ""
}

// ended returns the answer to a verdict on a call that has ended.
func ended(status events.Status) (events.Answer, string) {
	if status == events.StatusExpired {
		return events.AnswerExpired, "there was no decision on this call before its deadline"
	}
	return events.AnswerAlreadyDecided, fmt.Sprintf("the call has ended already, as %s", status)
}

// misplaced returns the answer to a verdict that does not fit what a call
// waits for; empty when it fits.
func misplaced(v *verdict, call *events.CallState) (events.Answer, string) {
	w := call.Waits
	ends := v.Verdict.Verdict == events.RulingReject || v.Verdict.Verdict == events.RulingAnswer
	switch {
	case w == events.WaitLimit:
		return events.AnswerNotAllowed, "the turn is paused at a limit: decide that first"
	case call.Rule == policy.KeyOverBudget && v.Verdict.Verdict == events.RulingAlways:
		return events.AnswerNotAllowed, "the policy's conditions were not evaluated on this call: approve this one call"
	case call.Rule == afterUnknown && v.Verdict.Verdict == events.RulingAlways:
		return events.AnswerNotAllowed, "the outcome of an earlier call is unknown: approve this one call"
	case w == events.WaitTime && !ends:
		return events.AnswerNotAllowed, "the call was deferred and runs by itself when it is due: reject it, answer it or cancel it"
	case w == events.WaitResult && !ends:
		return events.AnswerNotAllowed, "the call waits for an external result and does not run: answer it, reject it or cancel it"
	}
	return "", ""
}

// edited returns the arguments of an edit, or the answer when they are not valid.
func (d *decision) edited(v *verdict, call events.CallState) ([]byte, events.Answer, string) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, v.call.Arguments); err != nil || compact.Len() == 0 || compact.Bytes()[0] != '{' {
		return nil, events.AnswerInvalid, "an edit needs arguments: a complete JSON object"
	}
	spec, known := d.tool(call.Tool)
	if !known {
		return nil, events.AnswerInvalid, fmt.Sprintf("no worker offers the tool %q, so the arguments cannot be checked: reject the call, or retry when a worker serves it", call.Tool)
	}
	if err := d.env.Check(spec, compact.String()); err != nil {
		return nil, events.AnswerInvalid, "the call still waits: " + err.Error()
	}
	return compact.Bytes(), "", ""
}

// ruleLimit decides whether a turn may exceed a limit.
func (d *decision) ruleLimit(v *verdict, q *events.Question) (events.Answer, string) {
	switch {
	case v.call.Digest == "":
		return events.AnswerInvalid, "the verdict must name the digest of the question, as Paused does"
	case v.call.Digest != q.Digest:
		return events.AnswerArgumentsChanged, "the verdict names another question; this one's digest is " + q.Digest
	case v.Verdict.Verdict == events.RulingApprove:
		e := &events.Resumed{Turn: d.c.Turn, AtMS: d.now.UnixMilli(), Extended: q.Limit}
		if n := d.portions(q.Limit); n > 1 {
			e.Portions = n
		}
		d.emit(e)
		d.dispatchEach(d.held())
	case v.Verdict.Verdict == events.RulingReject:
		d.stop(events.OutcomeLimit, q.Limit, events.StatusRefused, fmt.Sprintf("the turn was not allowed to exceed its limit (%s): the call did not run", q.Limit), nil)
	default:
		return events.AnswerNotAllowed, "a question at a limit can only be approved or rejected"
	}
	return events.AnswerAccepted, ""
}

// releaseGranted releases waiting calls that a new standing approval covers.
func (d *decision) releaseGranted(grants []events.Grant) {
	for _, g := range grants {
		for _, call := range slices.Clone(d.c.Calls) {
			if call.Waiting() && call.Waits == events.WaitApproval && call.Needs.Anybody() && call.Tool == g.Tool && call.Rule == g.Rule {
				if r := d.judge(call, d.arguments(call.Call)); r.Action == events.ActionAuto {
					d.release(call, nil, g.ID)
				}
			}
		}
	}
}

// revoke removes standing approvals. Calls that run continue.
func (d *decision) revoke(input string, e *events.Verdict) {
	var ids []string
	for _, g := range d.c.Grants {
		if len(e.Grants) == 0 || slices.Contains(e.Grants, g.ID) {
			ids = append(ids, g.ID)
		}
	}
	if len(ids) == 0 {
		d.answer(input, events.AnswerAlreadyEnded, "", "there is no such standing approval")
		return
	}
	d.emit(&events.InputAnswered{Input: input, Answer: events.AnswerAccepted, Revoked: ids})
}
