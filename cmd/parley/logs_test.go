package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/orchestrator/logtest"
	"github.com/parleybus/parley/internal/topology"
)

var updateLogs = flag.Bool("update-logs", false, "rewrite what the commands print about recorded logs; only the commit that changes a text may")

// TestCommandsPrintTheSame puts recorded logs on a server and compares what the
// commands that read a conversation print with testdata/logs. What is long is
// compared by its digest.
func TestCommandsPrintTheSame(t *testing.T) {
	files, err := logtest.Files(filepath.Join("..", "..", "internal", "orchestrator", "logtest", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		l, err := logtest.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(l.Name, func(t *testing.T) {
			t.Parallel()
			url := stored(t, l)
			var got strings.Builder
			for _, args := range [][]string{{"show"}, {"show", "--format", "md"}, {"show", "--format", "json"}, {"replay"}, {"replay", "--reasoning", "--from", "3-0"},
				{"tail", "--no-follow"}, {"tail", "--no-follow", "--json"}, {"tail", "--no-follow", "--raw"}} {
				printed(t, &got, url, append(args, l.Conversation))
			}
			golden := filepath.Join("testdata", "logs", l.Name+".golden")
			if *updateLogs {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("the commands print something else\n%s", firstDifference(got.String(), string(want)))
			}
		})
	}
}

// stored starts a server that holds a recorded log and nothing else.
func stored(t *testing.T, l *logtest.Log) (url string) {
	t.Helper()
	s, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	b, err := bus.Connect(t.Context(), bus.Config{URL: s.URL()}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	_, js := b.Raw()
	last := uint64(0)
	for _, r := range l.Messages {
		m := nats.NewMsg(r.Subject)
		m.Data = r.Data()
		if r.ID != "" {
			m.Header.Set(nats.MsgIdHdr, r.ID)
		}
		if r.Object != nil {
			object, err := r.Frame()
			if err != nil {
				t.Fatal(err)
			}
			lines, err := events.DecodeFrame(m.Data)
			if err != nil {
				t.Fatal(err)
			}
			storeObject(t, js, lines[0].Event.(*events.Claim).Object.Name, object)
		}
		for ; last+1 < r.Sequence; last++ { // what was of another conversation
			if _, err := js.Publish(t.Context(), topology.Probe(0), nil); err != nil {
				t.Fatal(err)
			}
		}
		ack, err := js.PublishMsg(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if last = ack.Sequence; last != r.Sequence {
			t.Fatalf("message %d is stored at %d", r.Sequence, last)
		}
	}
	return s.URL()
}

// storeObject stores an object under a name that earlier versions
// used. The stream refuses the rollup of nats.go's own Put.
func storeObject(t *testing.T, js jetstream.JetStream, name string, data []byte) {
	t.Helper()
	id := uuid.NewString()
	raw, err := json.Marshal(jetstream.ObjectInfo{ObjectMeta: jetstream.ObjectMeta{Name: name}, Bucket: topology.BucketObjects, NUID: id, Size: uint64(len(data)), Chunks: 1})
	if err != nil {
		t.Fatal(err)
	}
	var all []*nats.Msg
	for chunk := range slices.Chunk(data, 128<<10) {
		all = append(all, &nats.Msg{Subject: topology.ChunksSubject(id), Data: chunk})
	}
	for _, m := range append(all, &nats.Msg{Subject: topology.ObjectSubject(name), Data: raw}) {
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

// printed runs a command and writes what it prints, without what depends on when
// the log was stored.
func printed(t *testing.T, out *strings.Builder, url string, args []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "parley", append(args, "--nats", url)...) // testscript puts it into PATH
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "LANG=C.UTF-8", "NO_COLOR=1", "PARLEY_DATA="+t.TempDir())
	err := cmd.Run()
	fmt.Fprintf(out, "-- %s: %d --\n", strings.Join(args[:len(args)-1], " "), exitCode(err))
	text := timeless(stdout.String())
	if len(text) > 20_000 {
		fmt.Fprintf(out, "%d lines, %x\n", strings.Count(text, "\n"), sha256.Sum256([]byte(text)))
	} else {
		out.WriteString(text)
	}
	if stderr.Len() > 0 {
		fmt.Fprintf(out, "-- stderr --\n%s", timeless(stderr.String()))
	}
}

// timeless replaces the times at which messages were stored, and the epoch of the
// stream.
func timeless(text string) string {
	for _, p := range []string{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`, `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`} {
		text = regexp.MustCompile(p).ReplaceAllString(text, "TIME")
	}
	return regexp.MustCompile(`(\d+-\d+)@[0-9a-z]+`).ReplaceAllString(text, "$1@EPOCH")
}
