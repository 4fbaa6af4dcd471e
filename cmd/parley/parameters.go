package main

import (
	"errors"
	"math"

	"github.com/spf13/pflag"

	"github.com/parleybus/parley"
)

// parameters are the flags of the commands that may change how the model answers.
type parameters struct {
	flags        *pflag.FlagSet
	effort       string
	temperature  float64
	answerTokens int64
}

func (p *parameters) add(f *pflag.FlagSet) {
	p.flags = f
	f.StringVar(&p.effort, "effort", "", "how much the model reasons: minimal, low, medium, high, or a word of its provider")
	f.Float64Var(&p.temperature, "temperature", 0, "randomness of the answer, as the provider scales it")
	f.Int64Var(&p.answerTokens, "answer-tokens", 0, "most tokens of an answer")
}

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
