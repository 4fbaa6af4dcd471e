// Command table decodes every recording of a real provider with the code of
// "parley decode --result", prints a line for each and fails on any difference
// from the result of independent parsers. "make recordings" runs it.
//
// justified.tsv lists accepted differences with their reasons, at most three.
// The events themselves are compared by the digests in decoded.tsv; -write
// updates them.
package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/llm/recording"
)

// mostJustified bounds the number of accepted differences.
const mostJustified = 3

// justified holds folder/name, a tab, and the reason for accepting the
// difference.
//
//go:embed justified.tsv
var justified string

// suite is a folder of recordings and the provider that decodes it.
type suite struct{ folder, provider string }

func suites() []suite {
	return []suite{
		{"openai-chat", catalog.OpenAI},
		{"openai-compat", catalog.OpenAI},
		{"openai-responses", catalog.OpenAIResponses},
		{"anthropic", catalog.Anthropic},
		{"ollama", catalog.Ollama},
	}
}

func main() {
	write := flag.Bool("write", false, "write the digests of the decoded events to "+decodedFile)
	flag.Parse()
	if err := run(os.Stdout, *write); err != nil {
		fmt.Fprintln(os.Stderr, "recordings: "+err.Error())
		os.Exit(1)
	}
}

func run(out io.Writer, write bool) error {
	root, err := recording.Root()
	if err != nil {
		return err
	}
	reasons, err := parseJustified(justified)
	if err != nil {
		return err
	}
	before, err := parseDecoded(decoded)
	if err != nil {
		return err
	}
	now := digests{}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	say := func(columns ...any) { _, _ = fmt.Fprintf(w, strings.Repeat("%v\t", len(columns))+"\n", columns...) } // Flush returns its errors
	say("RECORDING", "TEXT", "REASONING", "CALLS", "FINISH", "TERMINATED", "ERROR", "AS EXPECTED")
	all, wrong := 0, 0
	var details strings.Builder
	for _, s := range suites() {
		decode, err := catalog.Decoder(s.provider)
		if err != nil {
			return err
		}
		found, err := recording.Load(root, s.folder)
		if err != nil {
			return err
		}
		for _, r := range found {
			all++
			name := s.folder + "/" + r.Name
			var g accumulator.Generation
			var frame []byte
			for e := range decode(bytes.NewReader(r.Body)) {
				g.Apply(e)
				if frame, err = events.Append(append(frame, '\n'), e); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			now[name] = fmt.Sprintf("%x", sha256.Sum256(frame))
			got := g.Result()
			differences := r.Differences(answerOf(&g, got))
			verdict := judge(name, differences, reasons)
			if verdict != "yes" && !strings.HasPrefix(verdict, "justified") {
				wrong++
				fmt.Fprintf(&details, "%s:\n  %s\n", name, strings.Join(append(differences, verdict), "\n  "))
				verdict = "NO"
			}
			say(name, len(got.Text), len(got.Reasoning)+len(got.ReasoningSummary), len(got.ToolCalls), word(got.FinishReason), got.Terminated, class(got.Error), verdict)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for name := range reasons {
		wrong++
		fmt.Fprintf(&details, "%s is in justified.tsv, but there is no such recording\n", name)
	}
	if write {
		return os.WriteFile(decodedFile, []byte(now.String()), 0o644)
	}
	if changed := now.changed(before); len(changed) > 0 {
		wrong += len(changed)
		fmt.Fprintf(&details, "these decode differently than in decoded.tsv: %s\n", strings.Join(changed, ", "))
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d recordings are not as expected\n%s", wrong, all, details.String())
	}
	_, err = fmt.Fprintf(out, "%d recordings, all as expected\n", all)
	return err
}

// judge reports whether a recording is as expected, and marks its justification
// as used.
func judge(name string, differences []string, reasons map[string]string) string {
	reason, listed := reasons[name]
	delete(reasons, name)
	switch {
	case len(differences) == 0 && listed:
		return "it is in justified.tsv, but does not differ: remove it"
	case len(differences) == 0:
		return "yes"
	case listed:
		return "justified: " + reason
	}
	return "justified.tsv does not list this difference"
}

func parseJustified(text string) (map[string]string, error) {
	reasons := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, _ := strings.Cut(line, "\t")
		if strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("justified.tsv: %q has no reason: write folder/name, a tab and why", name)
		}
		reasons[name] = reason
	}
	if len(reasons) > mostJustified {
		return nil, fmt.Errorf("justified.tsv: %d differences are more than %d: correct the decoders", len(reasons), mostJustified)
	}
	return reasons, nil
}

// answerOf converts a result to the form in which recordings are compared.
func answerOf(g *accumulator.Generation, r accumulator.Result) recording.Answer {
	a := recording.Answer{Text: r.Text, Refusal: r.Refusal, Reasoning: r.Reasoning, Summary: r.ReasoningSummary,
		End: &events.GenerationEnded{Usage: r.Usage, Terminated: r.Terminated}}
	if r.FinishReason != nil {
		a.End.FinishWord = *r.FinishReason
	}
	if r.Error != nil {
		a.End.Error = &events.Error{Class: r.Error.Class, Message: r.Error.Message}
	}
	for i, part := range g.Calls() {
		c := r.ToolCalls[i]
		a.Calls = append(a.Calls, recording.Call{ProviderID: c.ID, Name: c.Name, Arguments: c.Arguments, Invalid: c.Invalid, Custom: part.Custom})
	}
	return a
}

func word(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

func class(e *accumulator.ResultError) string {
	if e == nil {
		return "-"
	}
	return string(e.Class)
}
