package terminal

import (
	"cmp"
	"fmt"

	"github.com/parleybus/parley/internal/events"
)

// answered shows the answer to a person's input if it was not accepted as
// expected, and the other effects of the input.
func (r *Renderer) answered(e *events.InputAnswered) {
	if len(e.Calls) == 0 && e.Supersedes == "" {
		if text := unexpected(e.Answer); text != "" {
			// The reason is more precise and says what to do.
			r.remark(dim, cmp.Or(r.p.line(e.Reason), r.p.line(text)))
		}
	}
	for _, c := range e.Calls {
		text := unexpected(c.Answer)
		if c.Missing > 0 {
			text = "approved; it needs more approvals"
		}
		if text == "" {
			continue
		}
		label := r.p.line(c.Call)
		if known := r.calls.get(c.Call); known != nil && known.label != "" {
			label = known.label
		}
		r.remark(dim, label+": "+cmp.Or(r.p.line(c.Reason), r.p.line(text)))
	}
	for _, g := range e.Granted {
		text := "from now on " + cmp.Or(r.p.line(g.Tool), "?") + " runs here without asking"
		if r.o.Verbose {
			text += ", by approval " + r.p.line(g.ID)
		}
		r.remark(dim, text)
	}
	if n := len(e.Revoked); n > 0 {
		r.remark(dim, count(int64(n), "standing approval")+" taken back")
	}
	if n := len(e.Dropped); n > 0 {
		r.remark(dim, count(int64(n), "queued message")+" dropped")
	}
	if e.Supersedes != "" {
		r.remark(dim, "what waited is dropped for this message")
	}
}

// unexpected returns the text for an answer that did not accept the input; ""
// for one that did.
func unexpected(a events.Answer) string {
	switch a {
	case events.AnswerAccepted:
		return ""
	case events.AnswerQueued:
		return "queued until the running turn ends"
	case events.AnswerSuperseded:
		return "superseded by a later input"
	case events.AnswerAlreadyEnded:
		return "came too late: it had ended already"
	case events.AnswerUnknownCall:
		return "no such call waits"
	case events.AnswerInvalid:
		return "the input is invalid"
	case events.AnswerRefused:
		return "not taken: a turn runs or waits; cancel it or send the message later"
	case events.AnswerAlreadyDecided:
		return "decided already, the first verdict counts"
	case events.AnswerArgumentsChanged:
		return "its arguments have changed since the verdict: look at it again"
	case events.AnswerExpired:
		return "came too late: the deadline had passed"
	case events.AnswerDenied:
		return "the policy denies it, with or without approval"
	case events.AnswerSecretInClear:
		return "a secret was answered in clear text: change it, and answer with parley, which seals it"
	case events.AnswerBadSignature:
		return "not taken: its signature is not valid"
	case events.AnswerUnknownKey:
		return "not taken: it is signed with a key that the deployment does not know"
	case events.AnswerSignatureRequired:
		return "not taken: this deployment takes signed inputs only"
	case events.AnswerNotAllowed:
		return "it waits for something else than this verdict"
	}
	return "the input is " + string(a)
}

// hooksRequested shows which hooks are called for a turn.
func (r *Renderer) hooksRequested(e *events.HooksRequested) {
	if !r.o.Verbose {
		return
	}
	text := "asking"
	if e.When == events.HookAfter {
		text = "telling"
	}
	for i, h := range e.Hooks {
		if i > 0 {
			text += ","
		}
		text += " " + cmp.Or(r.p.line(h.Name), "?")
	}
	r.note(dim, r.m.dash+" "+text)
}

// hookAnswered shows what a hook changed. A hook without a change is shown only
// if everything is.
func (r *Renderer) hookAnswered(e *events.HookAnswered) {
	name := cmp.Or(r.p.line(e.Hook), "?")
	switch {
	case e.Refuse != "":
		r.remark(yellow, "hook "+name+" refused the turn: "+r.p.line(e.Refuse))
	case e.Error != "":
		r.remark(yellow, "hook "+name+" gave no answer: "+r.p.line(e.Error))
	case !r.o.Verbose:
	case e.Context != "":
		r.note(dim, r.m.dash+" "+name+" "+r.m.dot+" "+size(int64(len(e.Context)))+" for the system prompt")
		r.out.block(e.Context)
	default:
		r.note(dim, r.m.dash+" "+name+" "+r.m.dot+" ok")
	}
}

func ordinal(n int) string { return fmt.Sprintf("reminder %d", n) }
