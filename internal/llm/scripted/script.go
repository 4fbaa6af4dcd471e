package scripted

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/yamlfile"
)

// The bounds of a script.
const (
	MaxScript = 64 << 10 // bytes
	MaxSteps  = 10_000   // of a rule, with repetitions
	maxChunk  = 10_000   // words
)

// script is the whole file.
type script struct {
	Model string `yaml:"model"` // the model in the answer; empty means the requested one
	Pace  int    `yaml:"pace"`  // milliseconds before each chunk
	Chunk int    `yaml:"chunk"` // words in a chunk of text; 0 means 1
	Rules []rule `yaml:"rules"` // the first that matches answers
}

// rule answers questions that match; one without conditions answers all.
type rule struct {
	Name     string `yaml:"name"`
	Contains texts  `yaml:"contains"` // all must occur, in any case
	Match    texts  `yaml:"match"`    // regular expressions, all must match, in any case
	Loop     bool   `yaml:"loop"`     // start again after the last step
	Steps    []step `yaml:"steps"`

	patterns []*regexp.Regexp
}

// step is one generation: reasoning, text, refusal and calls, in this order,
// then an end.
type step struct {
	Delay  int  `yaml:"delay"`  // milliseconds before the first chunk
	Pace   *int `yaml:"pace"`   // instead of the script's
	Chunk  int  `yaml:"chunk"`  // instead of the script's
	Repeat int  `yaml:"repeat"` // how often the step is played; 0 means once

	Reasoning string `yaml:"reasoning"` // template
	Text      string `yaml:"text"`      // template
	Refusal   string `yaml:"refusal"`   // template
	Calls     []call `yaml:"calls"`

	// After is the number of chunks before the end; without it an error comes
	// at once and any other end after the last chunk.
	After *int `yaml:"after"`
	// The end: at most one of Error, Cut (no terminal sign) and Stall (nothing
	// until ctx is done); otherwise Finish, by default stop or tool_calls.
	Error *failure      `yaml:"error"`
	Cut   bool          `yaml:"cut"`
	Stall bool          `yaml:"stall"`
	End   events.Finish `yaml:"finish"`
	// FailFirst limits Error to the first so many requests of a question; 0
	// means always.
	FailFirst int `yaml:"fail_first"`

	Usage   *usage `yaml:"usage"`    // instead of the count of words
	NoUsage bool   `yaml:"no_usage"` // the provider reports no usage

	reasoning, text, refusal *phrase
	literal                  string // instead of text: not a template
}

// call is one call of a tool.
type call struct {
	Tool      string         `yaml:"tool"`
	Arguments map[string]any `yaml:"arguments"` // texts in it are templates
	Raw       string         `yaml:"raw"`       // template, as the model would write it
	ID        string         `yaml:"id"`        // the provider's id
	Unoffered bool           `yaml:"unoffered"` // call it even if it is not offered

	arguments any
	raw       *phrase
}

type failure struct {
	Class        events.ErrorClass `yaml:"class"`
	Message      string            `yaml:"message"`
	Code         string            `yaml:"code"`
	HTTPStatus   int               `yaml:"http_status"`
	RetryAfterMS int64             `yaml:"retry_after_ms"`
}

type usage struct {
	Input     *int64 `yaml:"input"`
	Output    *int64 `yaml:"output"`
	Reasoning *int64 `yaml:"reasoning"`
}

// texts is one text or a list of them.
type texts []string

// UnmarshalYAML implements [yaml.InterfaceUnmarshaler].
func (t *texts) UnmarshalYAML(decode func(any) error) error {
	var one string
	if err := decode(&one); err == nil {
		*t = texts{one}
		return nil
	}
	var many []string
	err := decode(&many)
	*t = many
	return err
}

// parse reads and checks a script.
func parse(raw []byte) (*script, error) {
	if len(raw) > MaxScript {
		return nil, fmt.Errorf("the script has %d bytes, at most %d are allowed", len(raw), MaxScript)
	}
	s := &script{}
	file, err := yamlfile.Decode(raw, s)
	if err != nil {
		return nil, err
	}
	if path, err := s.check(); err != nil {
		return nil, file.At(path, err)
	}
	return s, nil
}

// check validates and compiles; the path locates the error.
func (s *script) check() (string, error) {
	if s.Pace < 0 || s.Pace > 60_000 {
		return "$.pace", fmt.Errorf("pace is %d: give 0 to 60000 milliseconds", s.Pace)
	}
	if s.Chunk < 0 || s.Chunk > maxChunk {
		return "$.chunk", fmt.Errorf("chunk is %d: give 0 to %d words", s.Chunk, maxChunk)
	}
	if len(s.Rules) == 0 {
		return "$", errors.New("the script has no rules: give at least one with steps")
	}
	for i := range s.Rules {
		r := &s.Rules[i]
		at := fmt.Sprintf("$.rules[%d]", i)
		if r.Name == "" {
			r.Name = fmt.Sprintf("%d", i+1)
		}
		if len(r.Match)+len(r.Contains) == 0 && i < len(s.Rules)-1 {
			return at, fmt.Errorf("rule %q has no condition, so the rules behind it are never reached: move it to the end", r.Name)
		}
		if path, err := r.check(at); err != nil {
			return path, fmt.Errorf("rule %q: %w", r.Name, err)
		}
	}
	return "", nil
}

func (r *rule) check(at string) (string, error) {
	var names []string
	for _, m := range r.Match {
		p, err := regexp.Compile("(?is)" + m)
		if err != nil {
			return at + ".match", fmt.Errorf("match: %w", err)
		}
		r.patterns = append(r.patterns, p)
		names = append(names, p.SubexpNames()...)
	}
	if len(r.Steps) == 0 {
		return at, errors.New("it has no steps: give at least one")
	}
	var played []step
	for i := range r.Steps {
		here := fmt.Sprintf("%s.steps[%d]", at, i)
		if path, err := r.Steps[i].check(here, names); err != nil {
			return path, fmt.Errorf("step %d: %w", i+1, err)
		}
		n := max(1, r.Steps[i].Repeat)
		if len(played)+n > MaxSteps {
			return here, fmt.Errorf("the rule has more than %d steps", MaxSteps)
		}
		played = append(played, slices.Repeat([]step{r.Steps[i]}, n)...)
	}
	r.Steps = played
	return "", nil
}

func (s *step) check(at string, names []string) (string, error) {
	ends := 0
	for _, is := range []bool{s.Error != nil, s.Cut, s.Stall, s.End != ""} {
		if is {
			ends++
		}
	}
	switch {
	case ends > 1:
		return at, errors.New("error, cut, stall and finish exclude each other: give one")
	case s.FailFirst < 0 || (s.FailFirst > 0 && s.Error == nil):
		return at + ".fail_first", errors.New("fail_first wants a number above 0 and an error to fail with")
	case s.Delay < 0 || s.Delay > 3_600_000:
		return at + ".delay", fmt.Errorf("delay is %d: give 0 to 3600000 milliseconds", s.Delay)
	case s.Pace != nil && (*s.Pace < 0 || *s.Pace > 60_000):
		return at + ".pace", fmt.Errorf("pace is %d: give 0 to 60000 milliseconds", *s.Pace)
	case s.Chunk < 0 || s.Chunk > maxChunk:
		return at + ".chunk", fmt.Errorf("chunk is %d: give 0 to %d words", s.Chunk, maxChunk)
	case s.Repeat < 0 || (s.After != nil && *s.After < 0):
		return at, errors.New("repeat and after must not be negative")
	case s.NoUsage && s.Usage != nil:
		return at + ".usage", errors.New("usage and no_usage exclude each other: give one")
	}
	switch s.End {
	case "", events.FinishStop, events.FinishToolCalls, events.FinishLength, events.FinishContentFilter, events.FinishPause, events.FinishOther:
	default:
		return at + ".finish", fmt.Errorf("finish %q is unknown: give stop, tool_calls, length, content_filter, pause or other", s.End)
	}
	if s.Error != nil {
		if !slices.Contains(classes(), s.Error.Class) {
			return at + ".error", fmt.Errorf("error class %q is unknown: give one of %v", s.Error.Class, classes())
		}
		if s.Error.RetryAfterMS < 0 || s.Error.HTTPStatus < 0 {
			return at + ".error", errors.New("http_status and retry_after_ms must not be negative")
		}
	}
	var err error
	for _, p := range []struct {
		field, text string
		into        **phrase
	}{{"reasoning", s.Reasoning, &s.reasoning}, {"text", s.Text, &s.text}, {"refusal", s.Refusal, &s.refusal}} {
		if *p.into, err = newPhrase(p.text, names); err != nil {
			return at + "." + p.field, fmt.Errorf("%s: %w", p.field, err)
		}
	}
	for i := range s.Calls {
		if err := s.Calls[i].check(names); err != nil {
			return fmt.Sprintf("%s.calls[%d]", at, i), fmt.Errorf("call %d: %w", i+1, err)
		}
	}
	return "", nil
}

func classes() []events.ErrorClass {
	return []events.ErrorClass{events.ErrRateLimited, events.ErrOverloaded, events.ErrAuth, events.ErrInvalidRequest,
		events.ErrContextLength, events.ErrContentFilter, events.ErrNetwork, events.ErrCut, events.ErrIdle,
		events.ErrUnsupported, events.ErrCancelled, events.ErrInternal}
}

func (c *call) check(names []string) error {
	if c.Tool == "" {
		return errors.New("it names no tool")
	}
	if c.Raw != "" && c.Arguments != nil {
		return errors.New("arguments and raw exclude each other: give one")
	}
	var err error
	if c.raw, err = newPhrase(c.Raw, names); err != nil {
		return fmt.Errorf("raw: %w", err)
	}
	if c.arguments, err = prepare(c.Arguments, names); err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	return nil
}
