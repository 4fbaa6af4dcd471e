package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/tool"
)

// maxQuestion bounds a question to a person, in bytes.
const maxQuestion = 16 << 10

// Bounds of the addresses that a person is asked to open: the length of one in
// bytes, how many before a call, and how often a call asks.
const (
	maxAddress   = 2 << 10
	maxAddresses = 4
	maxAgree     = 3
)

// elicit passes a server's question to the person whose call it is about.
func (s *session) elicit(ctx context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
	c := s.callOf(ctx)
	if c == nil || c.in.Ask == nil {
		s.link.server.Log.Info("a question of an MCP server was declined: no person can be asked", "question", clip(r.Params.Message, maxProblem))
		return &sdk.ElicitResult{Action: "decline"}, nil
	}
	q, err := s.question(r.Params)
	if err != nil {
		s.link.server.Log.Info("a question of an MCP server was declined", "error", err)
		return &sdk.ElicitResult{Action: "decline"}, nil
	}
	// The question ends when the server cancels it and when its call ends.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	answer, err := c.in.Ask(ctx, q)
	switch {
	case err != nil:
		s.link.server.Log.Info("an MCP server's question was not answered", "error", err)
		return &sdk.ElicitResult{Action: "cancel"}, nil
	case answer.Declined:
		return &sdk.ElicitResult{Action: "decline"}, nil
	}
	result := &sdk.ElicitResult{Action: "accept"}
	if len(answer.Content) > 0 {
		if err := json.Unmarshal(answer.Content, &result.Content); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// question returns what a person is asked: to fill in a form, or to open an
// address, which nothing but the person opens.
func (s *session) question(p *sdk.ElicitParams) (tool.Question, error) {
	q := tool.Question{Message: clip(p.Message, maxQuestion), Server: s.link.server.Name}
	if p.Mode == "url" || p.URL != "" {
		to, err := url.Parse(p.URL)
		if err != nil || to.Scheme != "https" && to.Scheme != "http" || to.Host == "" || len(p.URL) > maxAddress {
			return q, fmt.Errorf("the address to open is no web address of at most %d bytes: %.100q", maxAddress, p.URL)
		}
		q.URL = p.URL
		return q, nil
	}
	if p.RequestedSchema == nil {
		return q, nil
	}
	var err error
	q.Schema, err = json.Marshal(p.RequestedSchema)
	return q, err
}

// agree asks the person to open each address that a server needs opened before it
// runs a call, and reports whether they agree.
func (s *session) agree(c *call, refused *jsonrpc.Error) bool {
	var needs struct {
		Elicitations []*sdk.ElicitParams `json:"elicitations"`
	}
	if c.in.Ask == nil || json.Unmarshal(refused.Data, &needs) != nil || len(needs.Elicitations) == 0 || len(needs.Elicitations) > maxAddresses {
		return false
	}
	for _, p := range needs.Elicitations {
		if p == nil || p.URL == "" {
			return false
		}
		q, err := s.question(p)
		if err != nil {
			s.link.server.Log.Info("a question of an MCP server was declined", "error", err)
			return false
		}
		if answer, err := c.in.Ask(c.ctx, q); err != nil || answer.Declined {
			return false
		}
	}
	return true
}

// callOf returns the call that a question belongs to. The newest protocol names
// it. In older versions a question names no call; if the running calls belong
// to more than one conversation, none is chosen, because the wrong person could
// answer.
func (s *session) callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *call
	for _, c := range s.calls {
		switch {
		case found == nil:
			found = c
		case found.in.Conversation != c.in.Conversation:
			return nil
		case found.in.Ask == nil:
			found = c
		}
	}
	return found
}
