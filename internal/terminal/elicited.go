package terminal

import (
	"fmt"

	"github.com/parleybus/parley/internal/events"
)

// elicitationLines bounds the message lines and the fields of an elicitation
// unless Options.Verbose is set.
const elicitationLines = 6

// elicitation shows an elicitation. A bar before each line marks it as text of
// the tool.
func (r *Renderer) elicitation(k *elicitation, indent string) {
	most := elicitationLines
	if r.o.Verbose {
		most = 0
	}
	lines, hidden := k.lines(r.p, indent+r.m.bar+" ", most)
	for _, line := range lines {
		r.out.note(plain, line)
	}
	if hidden > 0 {
		r.out.note(dim, fmt.Sprintf("%s%s %d more", indent, r.m.ellipsis, hidden))
	}
	if warning := k.warning(); warning != "" {
		r.out.note(yellow, indented(indent, r.p.narrower(len(indent)).wrap(warning)))
	}
}

// elicitationAnswered shows the answer that a tool got.
func (r *Renderer) elicitationAnswered(e *events.QuestionAnswered) {
	label := r.call(e.Call, "?").label
	switch who := r.who(e.By); {
	case e.Declined && e.By == "":
		r.remark(dim, label+" got no answer")
	case e.Declined:
		r.remark(dim, label+" got no answer: "+who+" declined")
	case e.Sealed != "":
		r.remark(dim, who+" answered "+label+", sealed")
	case len(e.Content) == 0 || string(e.Content) == "{}":
		r.remark(dim, who+" answered "+label+": yes")
	case r.o.Verbose:
		r.note(dim, r.m.dash+" "+who+" answered "+label+":")
		r.out.block(r.p.exactLines(e.Content))
	default:
		r.note(dim, r.p.cut(r.m.dash+" "+who+" answered "+label+": "+r.p.arguments(string(e.Content)), r.p.columns()))
	}
}
