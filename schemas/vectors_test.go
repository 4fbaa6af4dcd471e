package schemas_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/schemas"
)

var update = flag.Bool("update", false, "write the vectors anew; what they say must not change")

// foldVector is the log of a conversation and what it folds to.
type foldVector struct {
	Name string         `json:"name"`
	Says string         `json:"says"`
	Log  []logged       `json:"log"`
	View map[string]any `json:"view"`
}

// logged is a message of a log.
type logged struct {
	Sequence uint64         `json:"sequence"`
	Channel  events.Channel `json:"channel"`
	Call     string         `json:"call,omitempty"`
	ID       string         `json:"id,omitempty"` // header Nats-Msg-Id, without the conversation
	Data     string         `json:"data,omitempty"`
	Base64   []byte         `json:"data_base64,omitempty"` // in place of data that is not UTF-8
}

func (m logged) frame() []byte {
	if m.Base64 != nil {
		return m.Base64
	}
	return []byte(m.Data)
}

func (m logged) folded() accumulator.Message {
	f := accumulator.Message{Channel: m.Channel, Call: m.Call, Sequence: m.Sequence, ID: m.ID}
	f.Lines, f.Bad = events.DecodeFrame(m.frame())
	f.Position = fmt.Sprintf("%d-%d", m.Sequence, len(f.Lines))
	return f
}

// view is what a vector says of a conversation.
func view(t *testing.T, c *accumulator.Conversation) map[string]any {
	t.Helper()
	c.Drain()
	v := map[string]any{"phase": string(c.Phase), "turn": c.Turn, "turns": c.Turns, "generation": c.Generation, "queue": c.Queue,
		"messages": c.Transcript.Messages(), "settings": c.Transcript.Document, "deleted": c.Deleted != nil}
	if c.Phase == "" {
		v["phase"] = string(events.PhaseIdle)
	}
	inputs, calls := []string{}, []map[string]any{}
	for _, in := range c.Inputs {
		inputs = append(inputs, in.ID)
	}
	for _, s := range c.Calls {
		call := map[string]any{"call": s.Call, "tool": s.Tool}
		if s.Status != "" {
			call["status"] = s.Status
		}
		if s.Waits != "" {
			call["waits"] = s.Waits
		}
		calls = append(calls, call)
	}
	v["inputs"], v["calls"] = inputs, calls
	if c.Queue == nil {
		v["queue"] = []string{}
	}
	if c.Open != nil && c.Generation != "" {
		v["open"] = c.Open.Message()
		v["ended"] = c.Open.Ended != nil
		v["failed"] = c.Open.Ended != nil && c.Open.Ended.Error != nil
	} else {
		v["open"], v["ended"], v["failed"] = nil, false, false
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var plain map[string]any
	if err := json.Unmarshal(raw, &plain); err != nil {
		t.Fatal(err)
	}
	if plain["settings"] == nil {
		plain["settings"] = map[string]any{}
	}
	return plain
}

func (v *foldVector) fold() *accumulator.Conversation {
	c := &accumulator.Conversation{Transcript: accumulator.NewTranscript()}
	for _, m := range v.Log {
		c.Apply(m.folded())
	}
	return c
}

func readVectors[T any](t *testing.T, name string) []T {
	t.Helper()
	raw, err := os.ReadFile("vectors/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(all) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return all
}

func writeVectors(t *testing.T, name string, all any) {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("vectors/"+name, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVectorsOfFolds(t *testing.T) {
	made := foldsFromSource(t)
	if *update {
		writeVectors(t, "folds.json", made)
	}
	all := readVectors[foldVector](t, "folds.json")
	if !slices.EqualFunc(made, all, func(a, b foldVector) bool {
		return a.Name == b.Name && a.Says == b.Says && slices.EqualFunc(a.Log, b.Log, func(x, y logged) bool { return fmt.Sprint(x) == fmt.Sprint(y) })
	}) {
		t.Error("vectors/folds.json is not what testdata/folds.txt makes: go test ./schemas -run Vectors -update, and look at the difference")
	}
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			same(t, view(t, v.fold()), v.View)
			twice := &accumulator.Conversation{Transcript: accumulator.NewTranscript()}
			for _, m := range v.Log {
				twice.Apply(m.folded())
				twice.Apply(m.folded())
			}
			same(t, view(t, twice), v.View)
		})
	}
}

func same(t *testing.T, got, want map[string]any) {
	t.Helper()
	g, errGot := json.MarshalIndent(got, "", " ")
	w, errWant := json.MarshalIndent(want, "", " ")
	if errGot != nil || errWant != nil || !bytes.Equal(g, w) {
		t.Errorf("the fold is\n%s\nwant\n%s", g, w)
	}
}

// foldsFromSource makes the logs of testdata/folds.txt, with the state that each
// Decision leads to.
func foldsFromSource(t *testing.T) []foldVector {
	t.Helper()
	text, err := os.ReadFile("testdata/folds.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []foldVector
	var last uint64
	for row := range strings.Lines(string(text)) {
		row = strings.TrimSuffix(row, "\n")
		name, begins := strings.CutPrefix(row, "== ")
		says, rule := strings.CutPrefix(row, "says: ")
		next, jumps := strings.CutPrefix(row, "= ")
		switch {
		case row == "" || strings.HasPrefix(row, "#"):
		case begins:
			all, last = append(all, foldVector{Name: name}), 0
		case rule:
			all[len(all)-1].Says = says
		case jumps:
			if last, err = strconv.ParseUint(next, 10, 64); err != nil {
				t.Fatal(err)
			}
			last--
		default:
			last++
			v := &all[len(all)-1]
			v.Log = append(v.Log, v.message(t, last, row))
		}
	}
	for i := range all {
		all[i].View = view(t, all[i].fold())
	}
	return all
}

// message makes the message of a row.
func (v *foldVector) message(t *testing.T, seq uint64, row string) logged {
	t.Helper()
	row = regexp.MustCompile(`~[a-z]\d`).ReplaceAllStringFunc(row, func(name string) string {
		return fmt.Sprintf("0198c0de-0000-7000-8000-%08x%04s", name[1], name[2:])
	})
	channel, data, _ := strings.Cut(row, " ")
	m := logged{Sequence: seq, Data: strings.ReplaceAll(data, "⏎", "\n")}
	name, call, _ := strings.Cut(channel, ".")
	m.Channel, m.Call = events.Channel(name), call
	lines, err := events.DecodeFrame([]byte(m.Data))
	for _, l := range lines {
		validates(t, v.Name, l.Raw)
	}
	if err != nil || m.Channel != events.ChannelTurn || len(lines) != 1 {
		return m
	}
	if d, ok := lines[0].Event.(*events.Decision); ok && d.State.Phase == "" {
		draft := v.fold()
		draft = draft.Draft(len(draft.Inputs))
		for _, l := range d.Events {
			draft.ApplyDecided(l.Event)
		}
		d.Owner, d.State = "owner", draft.State
		frame, err := events.AppendFrame(nil, d)
		if err != nil {
			t.Fatal(err)
		}
		m.Data = string(frame)
	}
	return m
}

// validates checks an event of the source against its schema, so that no name of a
// field in it is wrong. A Decision there has no owner and no state yet.
func validates(t *testing.T, name string, raw json.RawMessage) {
	t.Helper()
	var e map[string]any
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	kind, _ := e["type"].(string)
	file, ok := schemas.Lookup(kind)
	if !ok {
		if !strings.HasPrefix(kind, "x_") {
			t.Errorf("%s: there is no %s", name, kind)
		}
		return
	}
	if kind == "Decision" && e["state"] == nil {
		e["owner"], e["state"] = "owner", map[string]any{"phase": "idle"}
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(file, &s); err != nil {
		t.Fatal(err)
	}
	for field := range e {
		if s.Properties[field] == nil && !strings.HasPrefix(field, "x_") && !(kind == "GenerationEnded" && field == "events") {
			t.Errorf("%s: %s has no field %s", name, kind, field)
		}
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(e); err != nil && !strings.Contains(string(raw), "x_") {
		t.Errorf("%s: %s: %v", name, raw, err)
	}
	if inside, ok := e["events"].([]any); ok {
		for _, e := range inside {
			raw, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			validates(t, name, raw)
		}
	}
}

func TestVectorsOfShards(t *testing.T) {
	type vector struct {
		Conversation string `json:"conversation"`
		Shards       int    `json:"shards"`
		Shard        int    `json:"shard"`
	}
	for _, v := range readVectors[vector](t, "shards.json") {
		if got := topology.ShardOf(v.Conversation, v.Shards); got != v.Shard {
			t.Errorf("%s is in shard %d of %d, want %d", v.Conversation, got, v.Shards, v.Shard)
		}
		if got := topology.At(v.Shards, v.Conversation, events.ChannelIn).Subject(topology.Conv); got != fmt.Sprintf("conv.%d.%s.in", v.Shard, v.Conversation) {
			t.Errorf("its inputs go to %s", got)
		}
	}
}

func TestVectorsOfDigests(t *testing.T) {
	type vector struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
		Compact   string `json:"compact"`
		Digest    string `json:"digest"`
	}
	for _, v := range readVectors[vector](t, "digests.json") {
		if got := events.Digest(v.Arguments); got != v.Digest {
			t.Errorf("%s: the digest is %s, want %s", v.Name, got, v.Digest)
		}
		if sum := sha256.Sum256([]byte(v.Compact)); hex.EncodeToString(sum[:]) != v.Digest {
			t.Errorf("%s: the digest is not that of %s", v.Name, v.Compact)
		}
	}
}

func TestVectorsOfCursors(t *testing.T) {
	type vector struct {
		Text      string  `json:"text"`
		Valid     bool    `json:"valid"`
		Sequence  string  `json:"sequence,omitempty"` // a string: above 2^53
		Index     *int    `json:"index,omitempty"`    // null: after the whole message
		Epoch     string  `json:"epoch,omitempty"`
		Canonical *string `json:"canonical,omitempty"` // how it is written, if not as text
	}
	for _, v := range readVectors[vector](t, "cursors.json") {
		c, err := bus.ParseCursor(v.Text)
		if (err == nil) != v.Valid {
			t.Errorf("%q: %v, want valid %t", v.Text, err, v.Valid)
		}
		if !v.Valid || err != nil {
			continue
		}
		index := bus.Whole
		if v.Index != nil {
			index = *v.Index
		}
		written := v.Text
		if v.Canonical != nil {
			written = *v.Canonical
		}
		if strconv.FormatUint(c.Sequence, 10) != v.Sequence || c.Index != index || c.Epoch != v.Epoch || c.String() != written {
			t.Errorf("%q is %+v, written %q", v.Text, c, c)
		}
	}
}

func TestVectorsOfFrames(t *testing.T) {
	type vector struct {
		Name   string   `json:"name"`
		Data   string   `json:"data,omitempty"`
		Base64 []byte   `json:"data_base64,omitempty"`
		Types  []string `json:"types"`           // of its events, before what cannot be read
		Bad    bool     `json:"bad"`             // the rest cannot be read
		Texts  []string `json:"texts,omitempty"` // of TextChunks, as they are read
		Claims string   `json:"claims,omitempty"`
	}
	for _, v := range readVectors[vector](t, "frames.json") {
		data := v.Base64
		if data == nil {
			data = []byte(v.Data)
		}
		lines, err := events.DecodeFrame(data)
		types, texts := []string{}, []string(nil)
		for _, l := range lines {
			types = append(types, l.Event.Type())
			switch e := l.Event.(type) {
			case *events.TextChunk:
				texts = append(texts, e.Text)
			case *events.Claim:
				if e.Of != v.Claims {
					t.Errorf("%s: claims %s, want %s", v.Name, e.Of, v.Claims)
				}
			}
		}
		if (err != nil) != v.Bad || !slices.Equal(types, v.Types) || !slices.Equal(texts, v.Texts) {
			t.Errorf("%s: %v %q, %v", v.Name, types, texts, err)
		}
		if v.Base64 != nil && utf8.Valid(v.Base64) {
			t.Errorf("%s: it is UTF-8: write it as data", v.Name)
		}
	}
}
