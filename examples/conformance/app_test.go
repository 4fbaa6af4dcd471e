package conformance_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// command is what an app is told: docs/checklists/app.md.
type command struct {
	Do       string          `json:"do"`
	Text     string          `json:"text"`
	Call     string          `json:"call"`
	Digest   string          `json:"digest"`
	Reason   string          `json:"reason"`
	Question string          `json:"question"`
	Content  json.RawMessage `json:"content"`
	Settings json.RawMessage `json:"settings"`
}

// speak is an app on the Go client.
func speak(ctx context.Context) error {
	c, err := parley.Connect(ctx, parley.Config{})
	if err != nil {
		return err
	}
	defer c.Close()
	v := c.Conversation(os.Getenv("PARLEY_CONVERSATION"))
	lines := make(chan []byte)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- append([]byte(nil), in.Bytes()...)
		}
	}()
	out := json.NewEncoder(os.Stdout)
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, ok := <-lines:
			if !ok {
				<-ctx.Done()
				return nil
			}
			var cmd command
			err := json.Unmarshal(line, &cmd)
			var result any
			if err == nil {
				result, err = obey(ctx, v, &cmd)
			}
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				result = map[string]any{"error": failed{Code: string(parley.CodeOf(err)), Message: err.Error()}}
			}
			if err := out.Encode(result); err != nil {
				return err
			}
		}
	}
}

// obey does what a command says and returns the line to print.
func obey(ctx context.Context, v *parley.Conversation, cmd *command) (any, error) {
	input, err := inputOf(ctx, v, cmd)
	if err != nil {
		return nil, err
	}
	if cmd.Do == "result" {
		first, err := give(ctx, v.ID(), cmd)
		return map[string]any{"result": map[string]any{"call": cmd.Call, "accepted": first}}, err
	}
	answered, err := v.Submit(ctx, input)
	for parley.CodeOf(err) == parley.CodeNotStored && ctx.Err() == nil {
		answered, err = v.Submit(ctx, input) // the same input: it has its id
	}
	return map[string]any{"answered": answered}, err
}

// text is the content of a result, a JSON string.
func text(content json.RawMessage) string {
	var s string
	if json.Unmarshal(content, &s) != nil {
		return string(content)
	}
	return s
}

// inputOf returns the input that a command asks for.
func inputOf(ctx context.Context, v *parley.Conversation, cmd *command) (parley.Body, error) {
	switch cmd.Do {
	case "send":
		return &parley.UserMessage{Text: cmd.Text}, nil
	case "settings":
		s := new(parley.Settings)
		return s, json.Unmarshal(cmd.Settings, s)
	case "result":
		return nil, nil
	case "cancel":
		view, err := v.View(ctx)
		if err == nil && view.State.Turn == "" {
			err = errors.New("no turn runs")
		}
		return &parley.Cancel{Turn: view.State.Turn}, err
	case "approve", "deny", "answer":
		return verdict(ctx, v, cmd)
	}
	return nil, fmt.Errorf("there is no command %q", cmd.Do)
}

// verdict returns the decision on something that waits.
func verdict(ctx context.Context, v *parley.Conversation, cmd *command) (parley.Body, error) {
	waiting, err := v.Waiting(ctx)
	if err != nil {
		return nil, err
	}
	about := parley.Awaited{Call: cmd.Call, Digest: cmd.Digest}
	for _, w := range waiting {
		if cmd.Call != "" && w.Call == cmd.Call || cmd.Question != "" && w.Question == cmd.Question {
			about = w.Awaited
		}
	}
	if cmd.Digest != "" {
		about.Digest = cmd.Digest
	}
	switch cmd.Do {
	case "approve":
		return &parley.Verdict{Verdict: parley.RulingApprove, Calls: []parley.CallVerdict{{Call: about.Call, Digest: about.Digest}}}, nil
	case "deny":
		return &parley.Verdict{Verdict: parley.RulingReject, Reason: cmd.Reason, Calls: []parley.CallVerdict{{Call: about.Call, Digest: about.Digest}}}, nil
	}
	answer, err := parley.AnswerTo(about, string(cmd.Content))
	return &parley.Verdict{Verdict: parley.RulingAnswer, Calls: []parley.CallVerdict{answer}}, err
}

// give appends the result of a deferred call to its lane, and reports whether it is the
// first one.
func give(ctx context.Context, conversation string, cmd *command) (bool, error) {
	b, err := bus.Connect(ctx, bus.Environment(bus.Getenv), nil)
	if err != nil {
		return false, err
	}
	defer b.Close()
	frame, err := events.AppendFrame(nil, &events.ToolResult{Call: cmd.Call, Status: events.StatusOK, Content: text(cmd.Content)})
	if err != nil {
		return false, err
	}
	_, err = b.Lane(topology.OfCall(b.Shards(), conversation, events.ChannelCall, cmd.Call)).Append(ctx, 0, frame)
	if errors.Is(err, bus.ErrFenced) {
		return false, nil
	}
	return err == nil, err
}
