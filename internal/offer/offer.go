// Package offer decides what counts of what workers announce: which of several
// announcements of a name is served, and which effect class its calls have. What
// a worker announces can make calls stricter, never milder. Nothing here does
// I/O, reads the clock or panics, and every function is linear in its input.
package offer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// The kinds of offers.
const (
	LLM  = "llm"
	Tool = "tool"
	// Pool is a pool of models, which an orchestrator announces. It tells people what
	// may be asked; what is asked is in the orchestrator's own file.
	Pool = "pool"
)

// maxVersion is the length of the longest version that is kept, in bytes.
const maxVersion = 64

// maxPool is how many models of a pool an offer lists.
const maxPool = 100

// minBeatMS is the shortest beat that counts.
const minBeatMS = 100

// MaxBytes bounds a record of presence: a longer one is ignored.
const MaxBytes = 256 << 10

// The errors of a record that does not count.
var (
	ErrTooLong = fmt.Errorf("the announcement has more than %d bytes: shorten the tool's description or schema", MaxBytes)
	ErrInvalid = errors.New("the announcement does not count")
)

// Offer is what a worker serves: a route of models or a tool. It is a record of
// presence.
type Offer struct {
	Kind    string           `json:"kind"`              // "llm", "tool" or "pool"
	Name    string           `json:"name"`              // route, tool or pool
	Worker  string           `json:"worker"`            // name of the worker
	Model   string           `json:"model,omitempty"`   // llm: full name of the route's default model
	Default bool             `json:"default,omitempty"` // llm: the one to ask when nobody names a model
	Models  []string         `json:"models,omitempty"`  // pool: full names of its models, in order
	Tool    *events.ToolSpec `json:"tool,omitempty"`    // tool: what the worker serves
	Low     bool             `json:"low,omitempty"`     // tool: the worker also takes the calls that can wait
	// BeatMS is how often, in milliseconds, the worker repeats one of its records: one
	// that has repeated none for four times as long counts as dead when another worker
	// asks whether it still runs a job. 0: it counts as alive while a record exists.
	BeatMS   int64  `json:"beat_ms,omitempty"`
	Protocol int    `json:"protocol,omitempty"` // version of the protocol that the worker follows; 1 when it is absent
	Version  string `json:"version,omitempty"`  // version of the worker's program, for people
	// Withdrawn reports that the worker keeps running and offers this no more.
	Withdrawn bool `json:"withdrawn,omitempty"`
	// Rejected is the tool that the worker does not serve, because another tool of
	// the name is served or known. It is announced so that `parley doctor` can report it.
	Rejected *events.ToolSpec `json:"rejected,omitempty"`
	// Servers are the worker's MCP servers of which tools are missing. They come with
	// the offer of a tool that every tool-worker has.
	Servers []ServerState `json:"servers,omitempty"`
}

// ServerState describes an MCP server to people.
type ServerState struct {
	Name string `json:"name"` // of the server, as the worker's file names it
	// Missing is why none of its tools is there; empty if they are.
	Missing string `json:"missing,omitempty"`
	// Omitted are those of its tools that cannot be used.
	Omitted []events.OmittedTool `json:"omitted,omitempty"`
	// Renamed are those of its tools that have its name before theirs, because another
	// server or the worker has, or had, a tool of their name.
	Renamed []RenamedTool `json:"renamed,omitempty"`
}

// RenamedTool is a tool of an MCP server under another name.
type RenamedTool struct {
	Tool string `json:"tool"` // as the server lists it, with the prefix
	As   string `json:"as"`   // as models are offered it
}

// mostRenamed is how many renamed tools a line names.
const mostRenamed = 10

// Lines returns the state as text for whoever calls a model, a line each.
func (s ServerState) Lines() []string {
	var all []string
	if s.Missing != "" {
		all = append(all, fmt.Sprintf("MCP server %s: its tools are missing: %s", s.Name, s.Missing))
	}
	for _, o := range s.Omitted {
		all = append(all, fmt.Sprintf("MCP server %s: tool %s is left out: %s", s.Name, o.Tool, o.Reason))
	}
	if len(s.Renamed) > 0 {
		var names []string
		for _, r := range s.Renamed[:min(len(s.Renamed), mostRenamed)] {
			names = append(names, r.Tool+" as "+r.As)
		}
		if len(s.Renamed) > mostRenamed {
			names = append(names, "and others")
		}
		all = append(all, fmt.Sprintf("MCP server %s: offers %s, because another server or the worker has a tool of that name", s.Name, strings.Join(names, ", ")))
	}
	return all
}

// Key returns the offer's key in the bucket of presence.
func (o Offer) Key() string { return topology.PresenceKey(o.Kind, o.Name, o.Worker) }

// Serves reports whether the worker announces that it serves what it names.
func (o Offer) Serves() bool { return !o.Withdrawn && o.Rejected == nil }

// spec returns the tool that the worker serves, or would serve.
func (o Offer) spec() *events.ToolSpec {
	if o.Rejected != nil {
		return o.Rejected
	}
	return o.Tool
}

// Decode reads a record of presence. It counts only under its own key: users
// have permissions for keys, not for what records contain.
func Decode(key string, record []byte) (Offer, error) {
	if len(record) > MaxBytes {
		return Offer{}, ErrTooLong
	}
	var o Offer
	if err := json.Unmarshal(record, &o); err != nil {
		return Offer{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if o.Key() != key {
		return Offer{}, fmt.Errorf("%w: it names %q and is stored under %q", ErrInvalid, o.Key(), key)
	}
	return o, o.check()
}

func (o *Offer) check() error {
	if err := errors.Join(topology.CheckToken("kind", o.Kind), topology.CheckToken("tool or route", o.Name), topology.CheckToken("worker", o.Worker)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if o.BeatMS < minBeatMS {
		o.BeatMS = 0
	}
	o.Protocol = max(o.Protocol, 1)
	if !isVersion(o.Version) {
		o.Version = ""
	}
	switch o.Kind {
	case LLM, Tool:
	case Pool:
		o.Model, o.Default, o.Tool, o.Rejected = "", false, nil, nil
		if len(o.Models) == 0 || len(o.Models) > maxPool {
			return fmt.Errorf("%w: a pool has 1 to %d models, not %d", ErrInvalid, maxPool, len(o.Models))
		}
		return nil
	default:
		return fmt.Errorf("%w: its kind is none of %s, %s and %s", ErrInvalid, LLM, Tool, Pool)
	}
	o.Models = nil
	if o.Kind == LLM {
		o.Tool, o.Rejected = nil, nil
		if o.Model != "" && !strings.HasPrefix(o.Model, o.Name+"/") {
			return fmt.Errorf("%w: model %q is not of the route %q", ErrInvalid, o.Model, o.Name)
		}
		return nil
	}
	if o.Withdrawn {
		o.Tool, o.Rejected = nil, nil
		return nil
	}
	spec := o.spec()
	if spec == nil || spec.Name != o.Name {
		return fmt.Errorf("%w: it describes no tool %q", ErrInvalid, o.Name)
	}
	if o.Rejected != nil {
		o.Tool = nil
	}
	spec.Schema, spec.Output, spec.Effect = compact(spec.Schema), compact(spec.Output), Class(spec.Effect)
	return nil
}

// isVersion reports whether a text can be shown as a version: a worker may write any.
func isVersion(text string) bool {
	return len(text) <= maxVersion && !strings.ContainsFunc(text, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".+-_", c))
	})
}

// Encode returns an offer's record.
func (o Offer) Encode() ([]byte, error) {
	o.Protocol = topology.Protocol
	raw, err := json.Marshal(o)
	if err == nil && len(raw) > MaxBytes {
		err = ErrTooLong
	}
	return raw, err
}

// compact returns JSON without white space; schemas are compared byte for byte.
func compact(raw json.RawMessage) json.RawMessage {
	var out bytes.Buffer
	if len(raw) == 0 || json.Compact(&out, raw) != nil {
		return raw
	}
	return out.Bytes()
}
