package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func newReader(data []byte) io.Reader { return bytes.NewReader(data) }

// llmWorker serves the route "frozen": it calls a tool, and then says what came of it.
func llmWorker(ctx context.Context, b *bus) error {
	worker := "frozen-" + newID()[24:]
	go b.announce(ctx, "llm.frozen."+worker, map[string]any{"kind": "llm", "name": "frozen", "worker": worker, "model": "frozen/one", "default": true, "beat_ms": 1000})
	return b.work(ctx, "llm_frozen", func(m jetstream.Msg) error {
		var job struct {
			Conversation, Subject, Turn, Generation string
			Step                                    int
			Messages                                []struct {
				Role  string
				Parts []struct{ Text string }
			}
		}
		if err := json.Unmarshal(m.Data(), &job); err != nil {
			return err
		}
		var at uint64
		if last := b.last(ctx, "CONV_"+strings.Split(job.Subject, ".")[1], job.Subject); last != nil {
			at = last.Sequence
		}
		attempt, index := newID(), 0
		write := func(events ...map[string]any) (err error) {
			for _, e := range events {
				e["attempt"], e["index"] = attempt, index
				index++
			}
			at, err = b.append(ctx, job.Subject, at, events...)
			return err
		}
		if err := write(map[string]any{"type": "GenerationStarted", "generation": job.Generation, "turn": job.Turn, "step": job.Step, "provider": "frozen", "model": "one", "worker": worker}); err != nil {
			return err
		}
		finish := "stop"
		if said := job.Messages[len(job.Messages)-1]; said.Role == "user" {
			call := newID()
			finish = "tool_calls"
			if err := write(map[string]any{"type": "TextChunk", "text": "Let me "}, map[string]any{"type": "TextChunk", "text": "ask."},
				map[string]any{"type": "ToolCallStart", "block": 1, "call": call, "provider_id": "p1", "name": "frozen_tool"},
				map[string]any{"type": "ToolCallDelta", "block": 1, "call": call, "arguments": `{"amount":1.50,"name":"caf\u00`},
				map[string]any{"type": "ToolCallDelta", "block": 1, "call": call, "arguments": `e9"}`},
				map[string]any{"type": "ToolCallEnd", "block": 1, "call": call}); err != nil {
				return err
			}
		} else if err := write(map[string]any{"type": "TextChunk", "text": "It says: " + said.Parts[0].Text}); err != nil {
			return err
		}
		return write(map[string]any{"type": "GenerationEnded", "generation": job.Generation, "finish": finish, "terminated": true, "events": index + 1})
	})
}

// toolWorker serves frozen_tool, which is once: a person approves its calls.
func toolWorker(ctx context.Context, b *bus) error {
	worker := "frozen-" + newID()[24:]
	tool := map[string]any{"name": "frozen_tool", "description": "Repeats its arguments.", "effect": "once",
		"schema": map[string]any{"type": "object", "properties": map[string]any{"amount": map[string]any{"type": "number"}, "name": map[string]any{"type": "string"}}}}
	go b.announce(ctx, "tool.frozen_tool."+worker, map[string]any{"kind": "tool", "name": "frozen_tool", "worker": worker, "tool": tool, "beat_ms": 1000})
	return b.work(ctx, "tool_frozen_tool", func(m jetstream.Msg) error {
		var job struct {
			Subject, Call, Tool string
			Arguments           json.RawMessage
		}
		if err := json.Unmarshal(m.Data(), &job); err != nil {
			return err
		}
		attempt := newID()
		at, err := b.append(ctx, job.Subject, 0, map[string]any{"type": "ToolStarted", "call": job.Call, "attempt": attempt, "tool": job.Tool, "worker": worker})
		if err != nil {
			return err
		}
		_, err = b.append(ctx, job.Subject, at, map[string]any{"type": "ToolResult", "call": job.Call, "attempt": attempt, "status": "ok", "content": string(job.Arguments)})
		return err
	})
}

// app asks, approves what waits, and follows the turn to its end.
func app(ctx context.Context, b *bus) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	history, err := b.js.Stream(ctx, "HISTORY")
	if err != nil {
		return err
	}
	shards, err := strconv.Atoi(history.CachedInfo().Config.Metadata["parley.shards"])
	if err != nil {
		return err
	}
	conversation := newID()
	h := fnv.New32a()
	h.Write([]byte(conversation))
	of := fmt.Sprintf("%d.%s", h.Sum32()%uint32(shards), conversation)
	live := make(chan *nats.Msg, 10_000)
	if _, err := b.nc.ChanSubscribe("live."+of+".>", live); err != nil {
		return err
	}
	send := func(id string, input map[string]any) error {
		input["id"] = id
		raw, _ := json.Marshal(input)
		_, err := b.js.Publish(ctx, "conv."+of+".in", raw, jetstream.WithMsgID(conversation+"/"+id))
		return err
	}
	ask := newID()
	for range 2 { // the same id is the same input
		if err := send(ask, map[string]any{"type": "UserMessage", "text": "Go on, please."}); err != nil {
			return err
		}
	}
	last, text, turns := map[string]string{}, "", 0
	for {
		var m *nats.Msg
		select {
		case <-ctx.Done():
			return fmt.Errorf("the turn does not end; so far: %s", text)
		case m = <-live:
		}
		own := func(name string) string { v := m.Header.Values(name); return v[len(v)-1] }
		if before := own("Nats-Last-Sequence"); before != "0" && before != last[m.Subject] {
			return fmt.Errorf("a hole in %s: %s follows %s", m.Subject, before, last[m.Subject])
		}
		last[m.Subject] = own("Nats-Sequence")
		for _, e := range lines(m.Data) {
			if e.Type == "TextChunk" {
				text += e.Text
			}
			for _, e := range e.inside() {
				switch e.Type {
				case "TurnStarted":
					turns++
				case "InputAnswered":
					fmt.Println("answered", e.Answer)
				case "Paused":
					for _, a := range e.Awaiting {
						sum := sha256.Sum256([]byte(a.Text))
						if hex.EncodeToString(sum[:]) != a.Digest {
							return fmt.Errorf("the digest is not that of %s", a.Text)
						}
						fmt.Println("waits for", a.For, a.Text)
						if err := send(newID(), map[string]any{"type": "Verdict", "verdict": "approve", "calls": []any{map[string]any{"call": a.Call, "digest": a.Digest}}}); err != nil {
							return err
						}
					}
				case "TurnEnded":
					fmt.Println("text", text)
					fmt.Println("turns", turns, "outcome", e.Outcome)
					return nil
				}
			}
		}
	}
}
