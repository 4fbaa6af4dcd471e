package scripted

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// phrase is a compiled template over a [turn]; nil is an empty text.
type phrase struct{ t *template.Template }

// newPhrase compiles a template. names are the captures of the rule's patterns.
func newPhrase(text string, names []string) (*phrase, error) {
	if text == "" {
		return nil, nil
	}
	for _, m := range regexp.MustCompile(`\.Match\.([\pL_][\pL\d_]*)`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(names, m[1]) {
			return nil, fmt.Errorf("no pattern of the rule captures (?P<%s>…)", m[1])
		}
	}
	t, err := template.New("").Option("missingkey=error").Funcs((&turn{}).functions()).Parse(text)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	return &phrase{t}, nil
}

func (p *phrase) expand(t *turn) (string, error) {
	if p == nil {
		return "", nil
	}
	// Functions belong to a template, not to an execution.
	own, err := p.t.Clone()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := own.Funcs(t.functions()).Execute(&b, t); err != nil {
		return "", err
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD"), nil
}

// functions are the functions that templates may call.
func (t *turn) functions() template.FuncMap {
	return template.FuncMap{
		"result": func(n int) (string, error) {
			r, err := t.nth(n)
			return r.Text, err
		},
		"status": func(n int) (string, error) {
			r, err := t.nth(n)
			return string(r.Status), err
		},
		"json": func(v any) (string, error) {
			raw, err := json.Marshal(v)
			return string(raw), err
		},
	}
}

// prepare compiles the texts inside arguments.
func prepare(v any, names []string) (any, error) {
	switch v := v.(type) {
	case string:
		return newPhrase(v, names)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, errors.New("JSON has no such number")
		}
	case []any, map[string]any:
		return inside(v, func(part any) (any, error) { return prepare(part, names) })
	}
	if _, err := json.Marshal(v); err != nil {
		return nil, fmt.Errorf("JSON cannot hold it: %w", err)
	}
	return v, nil
}

// fill executes prepared arguments with the turn.
func fill(v any, t *turn) (any, error) {
	switch v := v.(type) {
	case *phrase:
		return v.expand(t)
	case []any, map[string]any:
		return inside(v, func(part any) (any, error) { return fill(part, t) })
	}
	return v, nil
}

// inside returns a list or an object with each of its values replaced.
func inside(v any, replace func(any) (any, error)) (any, error) {
	var err error
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			if out[i], err = replace(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			if out[k], err = replace(v[k]); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// text returns the call's arguments as a model would write them.
func (c *call) text(t *turn) (string, error) {
	if c.raw != nil {
		return c.raw.expand(t)
	}
	args, err := fill(c.arguments, t)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(args); err != nil {
		return "", err
	}
	return strings.TrimSpace(b.String()), nil
}
