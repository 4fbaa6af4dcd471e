package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// The bounds of arguments in conditions; larger ones cannot be evaluated.
const (
	maxArguments = 64 << 10 // bytes
	maxDepth     = 100      // objects and arrays in each other
)

// arguments reads the object of a call's arguments. Numbers without a fraction
// are int64 (uint64 when they only fit there), others float64.
//
// Two names of one object that are the same, or differ in case only, are an
// error: readers disagree on which of the two counts, and a condition must not
// see another value than the tool.
func arguments(raw []byte) (map[string]any, error) {
	if len(raw) > maxArguments {
		return nil, fmt.Errorf("the arguments have %d bytes: conditions evaluate at most %d", len(raw), maxArguments)
	}
	if !json.Valid(raw) {
		return nil, errors.New("the arguments are not valid JSON")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := value(d, 0)
	if err != nil {
		return nil, fmt.Errorf("the arguments cannot be judged: %w", err)
	}
	args, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("the arguments are not a JSON object")
	}
	return args, nil
}

func value(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("they are nested deeper than %d", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Number:
		return number(token.String())
	case json.Delim:
		if token == '{' {
			return object(d, depth)
		}
		list := []any{}
		for d.More() {
			v, err := value(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return token, nil
}

func object(d *json.Decoder, depth int) (map[string]any, error) {
	all, names := map[string]any{}, map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return nil, fmt.Errorf("%v instead of a name", token)
		}
		if f := folded(name); names[f] {
			return nil, fmt.Errorf("the name %.60q is there twice (case aside)", name)
		} else {
			names[f] = true
		}
		if all[name], err = value(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return all, err
}

// folded maps names that differ only in case to the same name, as
// [strings.EqualFold] compares and encoding/json looks for fields.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}

func number(text string) (any, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("the number %.20s… is out of range", text)
	}
	// 3.0 and 1e3 are integers; beyond 2^53 a float64 is not exact.
	if f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
		return int64(f), nil
	}
	return f, nil
}
