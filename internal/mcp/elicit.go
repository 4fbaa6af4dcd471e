package mcp

import (
	"context"
	"encoding/json"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/tool"
)

// maxQuestion bounds a question to a person, in bytes.
const maxQuestion = 16 << 10

// elicit passes a server's question to the person whose call it is about.
func (s *session) elicit(ctx context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
	c := s.callOf(ctx)
	if c == nil || c.in.Ask == nil {
		s.link.server.Log.Info("a question of an MCP server was declined: no person can be asked", "question", clip(r.Params.Message, maxProblem))
		return &sdk.ElicitResult{Action: "decline"}, nil
	}
	q := tool.Question{Message: clip(r.Params.Message, maxQuestion)}
	if r.Params.RequestedSchema != nil {
		schema, err := json.Marshal(r.Params.RequestedSchema)
		if err != nil {
			return nil, err
		}
		q.Schema = schema
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
