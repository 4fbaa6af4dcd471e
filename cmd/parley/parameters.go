package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/spf13/pflag"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/tool"
)

// parameters are the flags of the commands that may change how the model answers.
type parameters struct {
	flags        *pflag.FlagSet
	effort       string
	temperature  float64
	answerTokens int64
	schema       string
}

func (p *parameters) add(f *pflag.FlagSet) {
	p.flags = f
	f.StringVar(&p.effort, "effort", "", "how much the model reasons: none, minimal, low, medium, high, xhigh, max, or default for what its provider does")
	f.Float64Var(&p.temperature, "temperature", 0, "randomness of the answer, as the provider scales it")
	f.Int64Var(&p.answerTokens, "answer-tokens", 0, "most tokens of an answer")
	f.StringVar(&p.schema, "schema", "", "file with a JSON Schema that answers must fit from now on, - for standard input, none to remove it")
}

// settings returns the settings that were given, and whether there are any.
func (p *parameters) settings() (s parley.Settings, given bool, err error) {
	if s.Parameters, err = p.parsed(); err != nil {
		return s, false, err
	}
	s.AnswerSchema, err = p.answerSchema()
	return s, s.Parameters.Given() || s.AnswerSchema != nil, err
}

// answerSchema reads the file with the schema; nil when none was given.
func (p *parameters) answerSchema() (json.RawMessage, error) {
	var raw []byte
	var err error
	switch p.schema {
	case "":
		return nil, nil
	case noSchema:
		return json.RawMessage("null"), nil
	case "-":
		raw, err = io.ReadAll(io.LimitReader(os.Stdin, mostSchema))
	default:
		raw, err = os.ReadFile(p.schema)
	}
	if err != nil {
		return nil, usage(fmt.Errorf("--schema: %w", err))
	}
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")) // an editor's mark
	err = policy.CheckAnswerSchema(raw)
	if err == nil {
		err = new(tool.Validator).Check(events.ToolSpec{Name: "answer", Schema: raw})
	}
	if err != nil {
		return nil, usage(fmt.Errorf("--schema: %s: %w", p.schema, err))
	}
	return raw, nil
}

// noSchema removes a conversation's schema, in place of a file.
const noSchema = "none"

// mostSchema bounds a schema that is read, in bytes; deployments allow less.
const mostSchema = 16 << 20

// parsed returns the parameters that were given; none is the zero value.
func (p *parameters) parsed() (parley.Parameters, error) {
	set := parley.Parameters{ReasoningEffort: p.effort, MaxTokens: p.answerTokens}
	if p.answerTokens < 0 {
		return set, usage(errors.New("--answer-tokens must not be below 0"))
	}
	if p.flags.Changed("temperature") {
		if math.IsNaN(p.temperature) || math.IsInf(p.temperature, 0) || p.temperature < 0 {
			return set, usage(errors.New("--temperature must be a number, not below 0"))
		}
		set.Temperature = &p.temperature
	}
	return set, nil
}
