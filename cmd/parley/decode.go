package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/catalog"
)

func (a *app) decodeCommand() *cobra.Command {
	var provider string
	var result bool
	cmd := &cobra.Command{
		Use:   "decode --provider NAME [FILE|-]",
		Short: "Turn a recorded provider body into events",
		Long: `Turn a recorded provider body into events, by the code the workers use. With
--result the accumulated answer is printed as one JSON object; finish_reason is
the provider's own word, arguments are as the model wrote them, and an answer
that was merely cut has "terminated": false and no error.`,
		Example: "  curl -sN … | parley decode --provider openai --result",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			decode, err := catalog.Decoder(provider)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			in := io.Reader(os.Stdin)
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("read the body: %w", err)
				}
				defer func() { _ = f.Close() }() // it was only read
				in = f
			}
			if result {
				return decodeResult(decode, in, catalog.UsageKeys(provider))
			}
			return decodeEvents(decode, in)
		},
	}
	cmd.Flags().StringVar(&provider, "provider", "", "openai, openai-responses, anthropic or ollama")
	cmd.Flags().BoolVar(&result, "result", false, "print the accumulated answer instead of the events")
	_ = cmd.MarkFlagRequired("provider") // fails only for a flag that does not exist
	return cmd
}

// decodeEvents prints events as NDJSON, numbered as a worker would.
func decodeEvents(decode llm.Decoder, in io.Reader) error {
	index := 0
	for e := range decode(in) {
		// An error stands in the GenerationEnded beside it.
		if s, ok := e.(events.Stamped); ok {
			s.Stamp("", index)
			index++
		}
		line, err := events.Append(nil, e)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(append(line, '\n')); err != nil {
			return outputError(err)
		}
	}
	return nil
}

// decodeResult prints the answer. All counts that the provider's protocol knows
// are there, null where the provider did not say.
func decodeResult(decode llm.Decoder, in io.Reader, usageKeys []string) error {
	var g accumulator.Generation
	for e := range decode(in) {
		g.Apply(e)
	}
	out := decoded{Result: g.Result()}
	if out.Result.Usage == nil {
		return printJSON(out)
	}
	raw, err := json.Marshal(out.Result.Usage)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &out.Usage); err != nil {
		return err
	}
	for _, key := range usageKeys {
		if _, ok := out.Usage[key]; !ok {
			out.Usage[key] = nil
		}
	}
	return printJSON(out)
}

// decoded is a result whose usage names every count.
type decoded struct {
	accumulator.Result
	Usage map[string]*int64 `json:"usage"`
}
