package tool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

const (
	maxSchemas  = 2 << 20 // bytes of the schemas that a Validator keeps compiled
	maxProblems = 4       // problems listed in one error
	maxProblem  = 300     // bytes of one problem
	// maxNumber bounds the digits and the exponent of a number. The schema
	// library computes with exact fractions: 1e999999 would cost it seconds,
	// and a larger exponent a panic.
	maxNumber = 400
)

// ErrSchema is wrapped by errors of the tool's schema, as opposed to the
// model's arguments.
var ErrSchema = errors.New("the tool's schema cannot be used")

// Validator checks arguments against the schemas of tools and keeps the
// compiled schemas. The zero value is ready; it is safe for concurrent use.
//
// Schemas and arguments are untrusted: their size, and what it costs to use them, is
// compared with Ceilings before. Costs are counted, not timed, so that everyone
// decides the same.
type Validator struct {
	// Ceilings are those of the deployment; nil means the widest that one may have.
	Ceilings *ceilings.Ceilings

	mu       sync.Mutex
	compiled map[string]compiled // by the schema's text
	kept     int                 // bytes of these texts
}

// compiled is a schema, or why it cannot be used.
type compiled struct {
	schema *jsonschema.Schema
	err    error
}

// Validate returns an error if the raw arguments of a call are not one complete
// JSON object or do not match the tool's schema. The text is short and names
// the position and the expected value, so that a model can correct its call.
// The error wraps [ErrSchema] if the schema itself is wrong.
func (v *Validator) Validate(spec events.ToolSpec, raw string) error {
	left := v.most().ValidationCost
	return v.validate(spec, raw, &left)
}

// decisionShare is how many times the cost of one validation all calls of one
// decision may cost.
const decisionShare = 4

// Decision returns Validate for the calls of one decision, which share a budget: an
// answer may have hundreds of calls that each cost almost what one may.
func (v *Validator) Decision() func(spec events.ToolSpec, raw string) error {
	left := decisionShare * v.most().ValidationCost
	return func(spec events.ToolSpec, raw string) error { return v.validate(spec, raw, &left) }
}

var errShared = ceilings.Errorf(ceilings.CodeValidationCost, "arguments are not validated: the calls before it used up what the calls of one answer may cost together: make fewer calls at once")

// validate is Validate with the cost that is left, which it reduces.
func (v *Validator) validate(spec events.ToolSpec, raw string, left *int64) error {
	if err := events.CheckArguments(raw); err != nil {
		return err
	}
	schema, err := v.schema(spec)
	if err != nil || schema == nil {
		return err
	}
	if *left <= 0 {
		return errShared
	}
	doc, err := decode(events.Arguments(raw))
	if err != nil {
		return fmt.Errorf("arguments %w", err)
	}
	if err := v.affordable(schema, doc, left); err != nil {
		return err
	}
	if err := schema.Validate(doc); err != nil {
		invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
		if !ok {
			return fmt.Errorf("arguments do not fit the tool's schema: %w", err)
		}
		return errors.New(describe(invalid))
	}
	return nil
}

func (v *Validator) most() ceilings.Ceilings {
	if v.Ceilings == nil {
		return ceilings.Widest()
	}
	return v.Ceilings.WithDefaults()
}

// Check returns an error, which wraps [ErrSchema], if a schema of a tool cannot
// be used.
func (v *Validator) Check(spec events.ToolSpec) error {
	if _, err := v.schema(spec); err != nil {
		return err
	}
	_, err := v.schema(events.ToolSpec{Name: spec.Name, Schema: spec.Output})
	return err
}

// Result returns an error if a structured result does not match the tool's
// output schema. The error wraps [ErrSchema] if the output schema itself is
// wrong.
func (v *Validator) Result(spec events.ToolSpec, structured json.RawMessage) error {
	schema, err := v.schema(events.ToolSpec{Name: spec.Name, Schema: spec.Output})
	if err != nil {
		return err
	}
	if len(structured) == 0 {
		if schema == nil {
			return nil
		}
		return errors.New("it gave no structured result")
	}
	doc, err := decode(structured)
	if err != nil || schema == nil {
		return err
	}
	left := v.most().ValidationCost
	if err := v.affordable(schema, doc, &left); err != nil {
		return err
	}
	if err := schema.Validate(doc); err != nil {
		invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
		if !ok {
			return err
		}
		return errors.New(strings.ReplaceAll(describe(invalid), "arguments", "result"))
	}
	return nil
}

func (v *Validator) schema(spec events.ToolSpec) (*jsonschema.Schema, error) {
	text := string(bytes.TrimSpace(spec.Schema))
	if text == "" || text == "null" {
		return nil, nil
	}
	v.mu.Lock()
	c, known := v.compiled[text]
	v.mu.Unlock()
	if !known {
		// Not under the lock: nobody waits for another's schema.
		c.schema, c.err = compile(text, v.most())
		v.keep(text, c)
	}
	if c.err != nil {
		return nil, fmt.Errorf("tool %q: %w: %w", spec.Name, ErrSchema, c.err)
	}
	return c.schema, nil
}

// keep keeps a schema, or why it cannot be used: it is asked for with every call.
func (v *Validator) keep(text string, c compiled) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.compiled == nil || v.kept > maxSchemas {
		v.compiled, v.kept = map[string]compiled{}, 0
	}
	if c.schema == nil && ceilings.CodeOf(c.err) == ceilings.CodeSchemaBytes {
		return // it is refused at once, and its text is long
	}
	v.compiled[text] = c
	v.kept += len(text)
}

func compile(text string, most ceilings.Ceilings) (*jsonschema.Schema, error) {
	if size := int64(len(text)); size > most.SchemaBytes {
		return nil, ceilings.Errorf(ceilings.CodeSchemaBytes, "it has %d bytes, at most %d are allowed: simplify it, or raise schema_bytes", size, most.SchemaBytes)
	}
	doc, err := decode([]byte(text))
	if err != nil {
		return nil, err
	}
	if err := checkDocument(doc, most); err != nil {
		return nil, err
	}
	const here = "tool:///arguments"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(closed{})
	patterns := patterns{left: maxPatterns}
	c.UseRegexpEngine(patterns.compile)
	c.RegisterFormat(&jsonschema.Format{Name: "regex", Validate: boundedRegex})
	if err := c.AddResource(here, doc); err != nil {
		return nil, err
	}
	s, err := c.Compile(here)
	if err != nil {
		if patterns.over != nil {
			return nil, patterns.over
		}
		return nil, err
	}
	return s, checkExpansion(s, most.SchemaParts)
}

// closed is a loader that loads nothing: a schema must not cause file or
// network access.
type closed struct{}

func (closed) Load(url string) (any, error) {
	return nil, fmt.Errorf("it refers to %s: put the definition under $defs instead", url)
}

// decode decodes one JSON value and refuses numbers that are expensive to
// compute with.
func decode(raw []byte) (any, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("are not valid JSON: %w", err)
	}
	return doc, checkNumbers(doc)
}

func checkNumbers(doc any) error {
	switch doc := doc.(type) {
	case json.Number:
		_, exponent, _ := strings.Cut(strings.ToLower(doc.String()), "e")
		n, err := strconv.Atoi(exponent)
		if len(doc) > maxNumber || (exponent != "" && (err != nil || n > maxNumber || n < -maxNumber)) {
			return fmt.Errorf("hold the number %.20s…, which is too large to check", doc)
		}
	case []any:
		for _, e := range doc {
			if err := checkNumbers(e); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, e := range doc {
			if err := checkNumbers(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// describe lists the first few problems, one per position.
func describe(err *jsonschema.ValidationError) string {
	p := message.NewPrinter(language.English)
	var problems []string
	var more int
	var walk func(e *jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		switch e.ErrorKind.(type) {
		case *kind.OneOf, *kind.AnyOf, *kind.Not, *kind.Contains:
			// Their causes are alternatives; the head and the first one are
			// enough.
			if len(e.Causes) > 0 {
				e.Causes = e.Causes[:1]
			}
		}
		if len(e.Causes) > 0 {
			for _, c := range e.Causes {
				walk(c)
			}
			return
		}
		if len(problems) == maxProblems {
			more++
			return
		}
		text := place(e.InstanceLocation) + ": " + e.ErrorKind.LocalizedString(p)
		if len(text) > maxProblem {
			text = strings.ToValidUTF8(text[:maxProblem], "") + "…"
		}
		problems = append(problems, text)
	}
	walk(err)
	text := strings.Join(problems, "; ")
	if more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// place returns the position of a problem in the arguments: arguments.a[0].b
func place(path []string) string {
	var b strings.Builder
	b.WriteString("arguments")
	for _, p := range path {
		if _, err := strconv.Atoi(p); err == nil {
			b.WriteString("[" + p + "]")
		} else {
			b.WriteString("." + p)
		}
	}
	return b.String()
}
