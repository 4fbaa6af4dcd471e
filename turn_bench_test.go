package parley_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/model"
)

// answerWords is how many words an answer has.
const answerWords = 40

// slowly answers with a word in each interval; all at once for 0.
func slowly(interval time.Duration) model.AnswerFunc {
	return func(ctx context.Context, _ model.Request, w *model.Writer) error {
		for i := range answerWords {
			if interval > 0 {
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(interval):
				}
			}
			w.Text(fmt.Sprintf("word %d ", i))
		}
		return nil
	}
}

// benchDeployment is a deployment for a benchmark, in a directory, with a model.
func benchDeployment(b *testing.B, dir string, answer model.AnswerFunc) *embedded.Parley {
	b.Helper()
	return embed(b, embedded.Options{Dir: dir, Port: -1, Models: []model.Served{{Provider: model.Func("bench", answer), Model: "long"}}})
}

// takeTurns takes so many turns in a conversation and returns how long each took.
func takeTurns(b *testing.B, conversation *parley.Conversation, turns int) []time.Duration {
	b.Helper()
	var took []time.Duration
	for i := range turns {
		began := time.Now()
		turn, err := conversation.Send(b.Context(), fmt.Sprintf("question %d", i))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := turn.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	return took
}

// median is the median in milliseconds.
func median(of []time.Duration) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return float64(sorted[len(sorted)/2].Microseconds()) / 1e3
}

// BenchmarkTurns takes 500 turns in a conversation, one after the other: what the first 50
// of them took, and the last 50.
func BenchmarkTurns(b *testing.B) {
	p := benchDeployment(b, b.TempDir(), slowly(0))
	var early, late []time.Duration
	for b.Loop() {
		took := takeTurns(b, p.Conversation(parley.NewID()), 500)
		early, late = append(early, took[:50]...), append(late, took[450:]...)
	}
	b.ReportMetric(median(early), "ms/first-turns")
	b.ReportMetric(median(late), "ms/last-turns")
	b.ReportMetric(median(late)/median(early), "last/first")
}

// BenchmarkDisk takes turns of 40 words: what a word costs on disk, with the facts and the
// copies in HISTORY.
func BenchmarkDisk(b *testing.B) {
	for name, interval := range map[string]time.Duration{"at once": 0, "a word in 5 ms": 5 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			p := benchDeployment(b, dir, slowly(interval))
			before, turns := stored(b, dir), 0
			for b.Loop() {
				takeTurns(b, p.Conversation(parley.NewID()), 5)
				turns += 5
			}
			b.ReportMetric(float64(stored(b, dir)-before)/float64(turns*answerWords), "bytes/word")
		})
	}
}

// stored is how many bytes the files below a directory have.
func stored(b *testing.B, dir string) (bytes int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server removes files as it goes
		}
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return bytes
}

// BenchmarkView folds a conversation of 100 turns, which have ended, to its state now, in
// a log with PARLEY_STREAM messages of others behind it.
func BenchmarkView(b *testing.B) {
	p := benchDeployment(b, b.TempDir(), slowly(0))
	conversation := p.Conversation(parley.NewID())
	takeTurns(b, conversation, 100)
	fill(b, p.Server(), conversation.ID())
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		view, err := conversation.View(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if len(view.Messages) < 200 {
			b.Fatalf("%d messages", len(view.Messages))
		}
		took = append(took, time.Since(began))
	}
	b.ReportMetric(median(took), "ms-p50")
}

// fill crowds the log of a conversation.
func fill(b *testing.B, url, conversation string) {
	b.Helper()
	c, err := bus.Connect(b.Context(), bus.Config{URL: url, Name: b.Name()}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	frame, err := events.AppendFrame(nil, &events.TextChunk{Origin: events.Origin{Attempt: parley.NewID(), Index: 1}, Text: "a word "})
	if err != nil {
		b.Fatal(err)
	}
	_, js := c.Raw()
	brokertest.Crowd(b, js, c.Shards(), topology.ShardOf(conversation, c.Shards()), frame)
}
