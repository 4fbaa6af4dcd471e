package events

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// chunkLine is a text chunk of about 120 bytes, as a worker writes it.
func chunkLine(tb testing.TB) []byte {
	tb.Helper()
	raw, err := Append(nil, chunk())
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func chunk() *TextChunk {
	return &TextChunk{
		Origin: Origin{Attempt: "01938a5c-7c1e-7000-8000-000000000001", Index: 142},
		Block:  1, Text: " the quick brown fox:\n",
	}
}

// BenchmarkAppend compares the hand-written encoder with encoding/json.
func BenchmarkAppend(b *testing.B) {
	e := chunk()
	dst := make([]byte, 0, 256)
	for name, run := range map[string]func([]byte, Event) ([]byte, error){"hand": Append, "json": appendSlow} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := run(dst, e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecodeLine compares DecodeLine with one pass of encoding/json into
// the struct, which does not even look for the type first.
func BenchmarkDecodeLine(b *testing.B) {
	raw := chunkLine(b)
	b.Run("hand", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			if _, err := DecodeLine(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			var e TextChunk
			if err := json.Unmarshal(raw, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkJob compares writing and reading the job of a conversation of 500 turns with one pass of
// encoding/json.
func BenchmarkJob(b *testing.B) {
	job := &GenerationJob{Conversation: "c", Turn: "t"}
	for i := range 500 {
		job.Messages = append(job.Messages,
			Message{Role: RoleUser, Parts: []Part{{Kind: PartText, Text: fmt.Sprintf("question %d", i)}}},
			Message{Role: RoleAssistant, Provider: "bench", Model: "long", Parts: []Part{{Kind: PartText, Text: strings.Repeat("word 12 ", 40)}}})
	}
	raw, err := Append(nil, job)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("append", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			if _, err := Append(nil, job); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("append json", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			if _, err := appendSlow(nil, job); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, decode := range map[string]func([]byte) error{
		"hand": func(raw []byte) error { _, err := DecodeLine(raw); return err },
		"json": func(raw []byte) error { return json.Unmarshal(raw, new(GenerationJob)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if err := decode(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
