package main

import (
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/events"
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
			in := io.Reader(os.Stdin)
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("read the body: %w", err)
				}
				defer func() { _ = f.Close() }() // it was only read
				in = f
			}
			all, err := catalog.Recorded(provider, in)
			if err != nil {
				return usage(err)
			}
			if !result {
				return printEvents(all)
			}
			answer, err := catalog.AnswerOf(provider, all)
			if err != nil {
				return err
			}
			return printJSON(answer)
		},
	}
	cmd.Flags().StringVar(&provider, "provider", "", "openai, openai-responses, anthropic, gemini or ollama")
	cmd.Flags().BoolVar(&result, "result", false, "print the accumulated answer instead of the events")
	_ = cmd.MarkFlagRequired("provider") // fails only for a flag that does not exist
	return cmd
}

// printEvents prints events as NDJSON.
func printEvents(all iter.Seq[events.Event]) error {
	for e := range all {
		line, err := events.Append(nil, e)
		if err != nil {
			return err
		}
		if _, err := jsonOutput().Write(append(line, '\n')); err != nil {
			return outputError(err)
		}
	}
	return nil
}
