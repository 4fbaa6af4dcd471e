package llm

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/dialect"
)

// mostRefused bounds the refused tools that are remembered.
const mostRefused = 10_000

// Offering writes tools as a provider takes them. It remembers the tools that
// the provider has refused nevertheless, so that later requests leave them out
// at once. It is safe for concurrent use.
type Offering struct {
	rules dialect.Rules

	mu      sync.Mutex
	refused map[[sha256.Size]byte]string // why, by model and tool
	most    map[string]int               // tools of a request, by model
}

// NewOffering returns the offering of a provider with these rules.
func NewOffering(rules dialect.Rules) *Offering {
	return &Offering{rules: rules, refused: map[[sha256.Size]byte]string{}, most: map[string]int{}}
}

// Stream returns the stream of one request. send sends a request whose tools are
// as the provider takes them, and returns the body of the answer. When the
// provider refuses the request and names a tool, the request is sent again
// without it. The end of the answer lists the tools that were left out.
func (o *Offering) Stream(req Request, send func(Request) (io.ReadCloser, *events.Error), decode Decoder) Stream {
	if len(req.Tools) == 0 {
		return NewStream(func() (io.ReadCloser, *events.Error) { return send(req) }, decode)
	}
	return func(yield func(events.Event, error) bool) {
		var omitted []events.OmittedTool
		stream := NewStream(func() (body io.ReadCloser, failed *events.Error) {
			for sent := 1; ; sent++ {
				var next Request
				next, omitted = o.fit(req)
				body, failed = send(next)
				if failed == nil || !o.learn(next, failed) || sent == MostRequests || !req.MayRepeat() {
					return body, failed
				}
			}
		}, decode)
		stream(func(e events.Event, err error) bool {
			if end, ok := e.(*events.GenerationEnded); ok {
				end.Omitted = omitted
			}
			return yield(e, err)
		})
	}
}

// fit returns the request as the provider takes it, and the tools left out.
func (o *Offering) fit(req Request) (Request, []events.OmittedTool) {
	tools, omitted := o.rules.Fit(req.Tools)
	o.mu.Lock()
	if len(o.refused) > 0 { // a digest costs by the size of the tool
		tools = slices.DeleteFunc(tools, func(t events.ToolSpec) bool {
			why, refused := o.refused[digest(req.Model, t)]
			if refused {
				omitted = append(omitted, events.OmittedTool{Tool: t.Name, Server: t.Server, Reason: why})
			}
			return refused
		})
	}
	most := o.most[req.Model]
	o.mu.Unlock()
	if most > 0 && len(tools) > most {
		for _, t := range tools[most:] {
			omitted = append(omitted, events.OmittedTool{Tool: t.Name, Server: t.Server,
				Reason: fmt.Sprintf("the provider takes at most %d tools in a request: offer fewer", most)})
		}
		tools = tools[:most]
	}
	req.Tools = tools
	switch choice := req.Parameters.ToolChoice; choice {
	case "", "auto", "none", "required":
	default: // a tool, which the provider demands to be among those of the request
		if !slices.ContainsFunc(tools, func(t events.ToolSpec) bool { return t.Name == choice }) {
			req.Parameters.ToolChoice = ""
		}
	}
	if len(tools) == 0 {
		req.Parameters.ToolChoice = ""
	}
	return req, omitted
}

// learn remembers which tool a refusal names, and reports whether it names one.
func (o *Offering) learn(req Request, refusal *events.Error) bool {
	if refusal.HTTPStatus != http.StatusBadRequest && refusal.HTTPStatus != http.StatusUnprocessableEntity {
		return false
	}
	tool, most := dialect.Blamed(refusal.Message, req.Tools)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case tool >= 0:
		if len(o.refused) >= mostRefused {
			clear(o.refused)
		}
		o.refused[digest(req.Model, req.Tools[tool])] = "the provider refuses it: " + clip(refusal.Message)
	case most > 0:
		o.most[req.Model] = most
	}
	return tool >= 0 || most > 0
}

// digest identifies a tool as a model's provider gets it.
func digest(model string, t events.ToolSpec) [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %q %s", model, t.Name, t.Description, t.Schema))
}
