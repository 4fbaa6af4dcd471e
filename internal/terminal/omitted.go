package terminal

import (
	"fmt"

	"github.com/parleybus/parley/internal/events"
)

// omitted names the tools that were left out of a request, each reason once:
// every step of a conversation leaves out the same.
func (r *Renderer) omitted(all []events.OmittedTool) {
	for _, t := range all {
		if r.without[t] || len(r.without) >= mostOmitted {
			continue
		}
		r.without[t] = true
		name := "tool " + t.Tool
		if t.Server != "" {
			name += " of MCP server " + t.Server
		}
		r.note(yellow, r.p.wrap(r.m.dash+" "+r.p.line(name+" was left out: "+t.Reason)))
	}
}

// omittedParameters names the parameters that were left out of a request, each reason
// once.
func (r *Renderer) omittedParameters(all []events.OmittedParameter) {
	for _, p := range all {
		as := events.OmittedTool{Tool: " " + p.Parameter, Reason: p.Reason} // no tool has such a name
		if r.without[as] || len(r.without) >= mostOmitted {
			continue
		}
		r.without[as] = true
		r.note(yellow, r.p.wrap(r.m.dash+" "+r.p.line("parameter "+p.Parameter+" was left out: "+p.Reason)))
	}
}

// mostOmitted bounds the tools and parameters that are named.
const mostOmitted = 20

// searchable says once that there are more tools than a request offers.
func (r *Renderer) searchable(n int) {
	if n > 0 && !r.counted {
		r.counted = true
		r.note(yellow, r.p.wrap(fmt.Sprintf("%s %d tools are too many for one request: the model finds them with find_tools", r.m.dash, n)))
	}
}
