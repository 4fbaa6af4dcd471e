package terminal

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// bounds describes the constraints of a field.
func (f *field) bounds(p Profile) []string {
	var facts []string
	r := &f.rules
	add := func(low, high, unit string) {
		switch {
		case low != "" && high != "":
			facts = append(facts, low+" to "+high+unit)
		case low != "":
			facts = append(facts, "at least "+low+unit)
		case high != "":
			facts = append(facts, "at most "+high+unit)
		}
	}
	switch f.kind {
	case kindWhole, kindNumber:
		add(decimal(r.Minimum), decimal(r.Maximum), "")
	case kindText:
		switch format := p.line(r.Format); format {
		case "":
		case "date":
			facts = append(facts, "date as 2026-01-31")
		case "date-time":
			facts = append(facts, "date and time as 2026-01-31T15:04:05Z")
		default:
			facts = append(facts, p.cut(format, nameCells))
		}
		if r.Pattern != "" {
			facts = append(facts, "like "+p.cut(quoted(r.Pattern), nameCells))
		}
		add(whole(r.MinLength), whole(r.MaxLength), " characters")
	case kindSeveral:
		add(whole(r.MinItems), whole(r.MaxItems), "")
	}
	return facts
}

func decimal(f *float64) string {
	if f == nil {
		return ""
	}
	return strconv.FormatFloat(*f, 'g', -1, 64)
}

func whole(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

// typed returns the value of a typed line, or what is wrong with it.
func (f *field) typed(line string) (value json.RawMessage, problem string) {
	word := strings.TrimSpace(line)
	switch f.kind {
	case kindText:
		value = json.RawMessage(quoted(line))
	case kindBool:
		switch strings.ToLower(word) {
		case "y", "yes", "true":
			value = json.RawMessage("true")
		case "n", "no", "false":
			value = json.RawMessage("false")
		default:
			return nil, "it takes yes or no"
		}
	case kindOne:
		if value = f.chosen(word); value == nil {
			return nil, "it takes one of these" + f.how()
		}
	case kindSeveral:
		var all []string
		for word := range strings.SplitSeq(word, ",") {
			one := f.chosen(strings.TrimSpace(word))
			if one == nil {
				return nil, "it takes some of these" + f.how() + ", with commas between them"
			}
			if !slices.Contains(all, string(one)) {
				all = append(all, string(one))
			}
		}
		value = json.RawMessage("[" + strings.Join(all, ",") + "]")
	default:
		value = json.RawMessage(word)
	}
	return value, f.check(value)
}

// chosen returns the choice that a word names by its value, its number or, if
// it is unique, its title.
func (f *field) chosen(word string) json.RawMessage {
	var byTitle []json.RawMessage
	for _, c := range f.choices {
		text, isScalar := scalar(c.value)
		if isScalar && word == text || word == literal(c.value) {
			return c.value
		}
		if c.title != "" && strings.EqualFold(word, c.title) {
			byTitle = append(byTitle, c.value)
		}
	}
	if n, err := strconv.Atoi(word); err == nil && f.numbered() && n >= 1 && n <= len(f.choices) {
		return f.choices[n-1].value
	}
	if len(byTitle) == 1 {
		return byTitle[0]
	}
	return nil
}

// how describes how to name a choice.
func (f *field) how() string {
	if f.numbered() {
		return ", by number or by value"
	}
	return ", by value"
}

// numbered reports whether choices can be named by number. They cannot if the
// values are numbers: one would mean two things.
func (f *field) numbered() bool {
	return !slices.ContainsFunc(f.choices, func(c choice) bool {
		text, _ := scalar(c.value)
		_, err := strconv.Atoi(strings.TrimSpace(text))
		return err == nil
	})
}

// check returns what is wrong with a value, "" if nothing is. The orchestrator
// checks it again against the whole schema.
func (f *field) check(raw json.RawMessage) (problem string) {
	switch f.kind {
	case kindText:
		return f.checkText(raw)
	case kindWhole, kindNumber:
		return f.checkNumber(raw)
	case kindBool:
		if s := string(raw); s != "true" && s != "false" {
			return "it takes true or false"
		}
	case kindOne:
		if !f.offers(raw) {
			return "it takes one of its choices"
		}
	case kindSeveral:
		var all []json.RawMessage
		if json.Unmarshal(raw, &all) != nil || raw[0] != '[' || slices.ContainsFunc(all, func(v json.RawMessage) bool { return !f.offers(v) }) {
			return "it takes a list of its choices"
		}
		return outside(len(all), f.rules.MinItems, f.rules.MaxItems, "choices")
	default:
		if !json.Valid(raw) {
			return `it takes JSON, such as "text", 7 or [1, 2]`
		}
	}
	return ""
}

// offers reports whether a value is one of the choices.
func (f *field) offers(raw json.RawMessage) bool {
	exact := Profile{}.exact(raw)
	return slices.ContainsFunc(f.choices, func(c choice) bool { return Profile{}.exact(c.value) == exact })
}

func (f *field) checkText(raw json.RawMessage) string {
	var text string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return "it takes a text"
	}
	if f.rules.Pattern != "" {
		// A pattern outside RE2 is checked by the orchestrator only.
		if like, err := regexp.Compile(f.rules.Pattern); err == nil && !like.MatchString(text) {
			return "it takes a text like its pattern"
		}
	}
	if problem := misshapen(f.rules.Format, text); problem != "" {
		return problem
	}
	return outside(utf8.RuneCountInString(text), f.rules.MinLength, f.rules.MaxLength, "characters")
}

// misshapen returns why a text does not match a format. It knows the formats of
// MCP elicitation (https://modelcontextprotocol.io).
func misshapen(format, text string) string {
	switch format {
	case "date":
		if _, err := time.Parse(time.DateOnly, text); err != nil {
			return "it takes a date as 2026-01-31"
		}
	case "date-time":
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			return "it takes a date and time as 2026-01-31T15:04:05Z"
		}
	case "email":
		if before, after, ok := strings.Cut(text, "@"); !ok || before == "" || after == "" {
			return "it takes an e-mail address"
		}
	case "uri":
		if u, err := url.Parse(text); err != nil || !u.IsAbs() {
			return "it takes a whole URI, with its scheme"
		}
	}
	return ""
}

func (f *field) checkNumber(raw json.RawMessage) string {
	var n json.Number
	if len(raw) == 0 || raw[0] == '"' || json.Unmarshal(raw, &n) != nil || n == "" {
		if f.kind == kindWhole {
			return "it takes a whole number"
		}
		return "it takes a number"
	}
	if f.kind == kindWhole && strings.ContainsAny(string(n), ".eE") {
		return "it takes a whole number"
	}
	v, err := n.Float64()
	low, high := f.rules.Minimum, f.rules.Maximum
	switch {
	case err != nil:
		return "the number is too large"
	case low != nil && v < *low:
		return "it takes at least " + decimal(low)
	case high != nil && v > *high:
		return "it takes at most " + decimal(high)
	}
	return ""
}

func outside(n int, low, high *int, unit string) string {
	switch {
	case low != nil && n < *low:
		return fmt.Sprintf("it takes at least %d %s", *low, unit)
	case high != nil && n > *high:
		return fmt.Sprintf("it takes at most %d %s", *high, unit)
	}
	return ""
}
